"""Rotary positions: queries and keys turn with their place in the text (chapter 8)."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib import _guards
from embeddings_lib._fast_rotation import rotate_fast
from embeddings_lib.exact_angles import ExactAngles, is_traced, wave_rates
from embeddings_lib.learned_positions import rows_at


def split_pairs(x: Tensor, layout: str) -> tuple[Tensor, Tensor]:
    """The first and the second feature of each pair, along the last axis.

    >>> split_pairs(torch.tensor([0, 1, 2, 3]), "pairs")  # neighbours
    (tensor([0, 2]), tensor([1, 3]))
    >>> split_pairs(torch.tensor([0, 1, 2, 3]), "halves")  # one half with the other
    (tensor([0, 1]), tensor([2, 3]))
    """
    neighbours = layout == "pairs"
    return (x[..., 0::2], x[..., 1::2]) if neighbours else x.chunk(2, dim=-1)


def join_pairs(a: Tensor, b: Tensor, layout: str) -> Tensor:
    """The inverse of `split_pairs`.

    >>> join_pairs(torch.tensor([0, 2]), torch.tensor([1, 3]), "pairs")
    tensor([0, 1, 2, 3])
    """
    neighbours = layout == "pairs"
    return torch.stack([a, b], -1).flatten(-2) if neighbours else torch.cat([a, b], -1)


def rotate_by(
    x: Float[Tensor, "*batch seq heads head_dim"],
    cos: Float[Tensor, "*positions seq #heads pairs"],
    sin: Float[Tensor, "*positions seq #heads pairs"],
    layout: str,
) -> Float[Tensor, "*batch seq heads head_dim"]:
    """Turn each pair of features, from the cosine and the sine of its angle.

    >>> x = torch.tensor([1.0, 2.0]).reshape(1, 1, 2)
    >>> zero, one = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    >>> rotate_by(x, cos=zero, sin=one, layout="pairs").flatten()  # a quarter of a turn
    tensor([-2.,  1.])
    """
    size = 2 * cos.shape[-1]
    a, b = split_pairs(x[..., :size], layout)
    turned = join_pairs(a * cos - b * sin, b * cos + a * sin, layout)
    return torch.cat([turned.to(x.dtype), x[..., size:]], dim=-1)


def rotate(
    x: Float[Tensor, "*batch seq heads head_dim"],
    angles: Float[Tensor, "*positions seq pairs"],
    *,
    layout: str = "halves",
) -> Float[Tensor, "*batch seq heads head_dim"]:
    """Turn each pair of features by its own angle, the same in every head.

    >>> x = torch.tensor([1.0, 0.0]).reshape(1, 1, 2)  # one token, one head, one pair
    >>> rotate(x, torch.tensor([[torch.pi / 6]])).flatten()  # a twelfth of a turn
    tensor([0.8660, 0.5000])

    Equation: the pair (a, b) becomes (a cos θ - b sin θ, b cos θ + a sin θ), with the
    angle θ in radians. With `layout="pairs"` the features 2i and 2i + 1 are a pair,
    with `layout="halves"` the features i and i + pairs. Features beyond 2 · pairs stay
    as they are. 16-bit features are turned in the precision of the angles, and rounded
    once at the end.

    Raises ValueError for another layout, or more angles than pairs.

    Source: Su et al. 2021, section 3.4.2.
    """
    _guards.turn_of(x, angles, layout=layout)
    angles = angles.unsqueeze(-2)  # the same in every head
    return rotate_by(x, angles.cos(), angles.sin(), layout)


class RotaryPositions(nn.Module):
    """Turn queries and keys by position × rate, so that scores see distances.

    >>> rotary = RotaryPositions(head_dim=4)
    >>> x = torch.ones(3, 1, 4)  # three tokens, one head
    >>> q, k = rotary(x, x)
    >>> (q[1] * k[0]).sum(), (q[2] * k[1]).sum()  # one token apart, twice
    (tensor(3.0805), tensor(3.0805))

    Equation: q at position m and k at position n turn by m · rate and n · rate, so that
    their product depends on m - n. The rates are base^(-2i / rotary_dim), in radians
    per token; `scaling` may map them to others, and `attention_factor` enlarges what it
    turns (chapter 13). `rotary_dim` features turn, all by default, and the others stay.
    `layout` says which features form a pair, as in `rotate`: "halves" for weights of
    Llama and Mistral in transformers and of GPT-NeoX, "pairs" for those that Meta
    released and of GPT-J.

    There are no weights, and nothing grows: positions 0 to 1,048,575 are exact to 2e-7.
    Others are refused, negative ones too.

    Raises ValueError for an odd head_dim or rotary_dim, a rotary_dim above head_dim, an
    unknown layout, a base that is not above 1, and q and k that do not fit, TypeError
    for q and k of two dtypes or positions that are no tensor of int64 or int32, and
    IndexError for a position out of reach.

    Source: Su et al. 2021; "halves" and `rotary_dim` from the code of GPT-NeoX and
    GPT-J.
    """

    def __init__(
        self,
        head_dim: int,
        *,
        base: float = 10_000.0,
        rotary_dim: int | None = None,
        layout: str = "halves",
        scaling: Callable[[Tensor], Tensor] | None = None,
        attention_factor: float = 1.0,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        self.head_dim = head_dim
        self.rotary_dim = head_dim if rotary_dim is None else rotary_dim
        self.base = base
        self.layout = layout
        _guards.rotary_sizes(head_dim, self.rotary_dim, layout=layout)
        rates = wave_rates(self.rotary_dim, base)
        rates = scaling(rates) if scaling else rates
        self.angles = ExactAngles(rates, radius=attention_factor, device=device)

    def forward(
        self,
        q: Float[Tensor, "*batch q_seq q_heads head_dim"],
        k: Float[Tensor, "*batch k_seq k_heads head_dim"],
        positions: Int[Tensor, "*positions seq"] | None = None,
        *,
        offset: int = 0,
        inplace: bool = False,
        heads_first: bool = False,
    ) -> tuple[
        Float[Tensor, "*batch q_seq q_heads head_dim"],
        Float[Tensor, "*batch k_seq k_heads head_dim"],
    ]:
        """Both turned: (*batch, seq, heads, head_dim) -> the same.

        The positions are offset to offset + seq - 1; or `positions` names them, (seq)
        for the whole batch or (*batch, seq). With `inplace=True` the result may
        overwrite q and k, which saves memory. Shapes alone do not tell which axis is
        the text: say `heads_first=True` for (*batch, heads, seq, head_dim), the order
        of transformers and of `scaled_dot_product_attention`.
        """
        return self._turn((q, k), positions, offset, inplace, heads_first)

    def rotate(
        self,
        x: Float[Tensor, "*batch seq heads head_dim"],
        positions: Int[Tensor, "*positions seq"] | None = None,
        *,
        offset: int = 0,
        inplace: bool = False,
        heads_first: bool = False,
    ) -> Float[Tensor, "*batch seq heads head_dim"]:
        """One tensor turned: for queries and keys that do not stand at the same places.

        >>> rotary = RotaryPositions(head_dim=4)
        >>> q, k = torch.ones(1, 1, 4), torch.ones(3, 1, 4)  # the newest of three keys
        >>> rotary.rotate(q, offset=2).shape, rotary.rotate(k).shape
        (torch.Size([1, 1, 4]), torch.Size([3, 1, 4]))

        The arguments are those of `forward`.
        """
        (turned,) = self._turn((x,), positions, offset, inplace, heads_first)
        return turned

    def _turn(
        self,
        parts: tuple[Tensor, ...],
        positions: Tensor | None,
        offset: int,
        inplace: bool,
        heads_first: bool,
    ) -> tuple[Tensor, ...]:
        angles = self.angles
        device = angles.low.device
        _guards.turnable(parts, positions, self.head_dim, device, heads_first)
        if heads_first:
            parts = tuple(x.transpose(-3, -2) for x in parts)
        points = rows_at(angles, parts[0].shape[-3], positions, offset)
        points = points.unsqueeze(-2)  # the same in every head
        if is_traced():
            cos, sin = split_pairs(points, "pairs")
            turned = tuple(rotate_by(x, cos, sin, self.layout) for x in parts)
        else:
            turned = rotate_fast(parts, points, self.layout, inplace)
        return tuple(x.transpose(-3, -2) for x in turned) if heads_first else turned

    @property
    def inv_freq(self) -> Float[Tensor, " pairs"]:
        """The rate of each pair, scaled if it is, in radians per token, in float64."""
        return self.angles.rates

    @property
    def attention_scaling(self) -> float:
        """By how much queries and keys grow as they turn: the `attention_factor`."""
        return self.angles.radius

    def cos_sin(
        self, positions: Int[Tensor, "*batch seq"]
    ) -> tuple[
        Float[Tensor, "*batch seq rotary_dim"], Float[Tensor, "*batch seq rotary_dim"]
    ]:
        """The cosine and the sine with which each feature turns, as tables in float32.

        >>> cos, sin = RotaryPositions(head_dim=4).cos_sin(torch.arange(3))
        >>> cos
        tensor([[ 1.0000,  1.0000,  1.0000,  1.0000],
                [ 0.5403,  0.9999,  0.5403,  0.9999],
                [-0.4161,  0.9998, -0.4161,  0.9998]])

        Equation: attention_scaling · cos(position · inv_freq), and the sine likewise,
        in the order of the layout, so that both features of a pair have the same; as
        the rotary embeddings of transformers return them.

        Raises as `forward` does for positions.
        """
        cos, sin = split_pairs(self.angles(positions), "pairs")
        return join_pairs(cos, cos, self.layout), join_pairs(sin, sin, self.layout)

    def extra_repr(self) -> str:
        return (
            f"head_dim={self.head_dim}, base={self.base}, "
            f"rotary_dim={self.rotary_dim}, layout={self.layout!r}"
        )


def to_pairs(
    weight: Float[Tensor, "rows ..."],
    head_dim: int,
    *,
    rotary_dim: int | None = None,
) -> Float[Tensor, "rows ..."]:
    """Reorder a projection to q or k that was trained with "halves", for "pairs".

    >>> to_pairs(torch.tensor([0.0, 1.0, 2.0, 3.0]), head_dim=4)  # a bias of one head
    tensor([0., 2., 1., 3.])

    In each head, row i becomes row 2i, and row i + rotary_dim / 2 becomes row 2i + 1.
    Scores do not change if both projections, their biases, and `layout` change.

    Raises ValueError where head_dim does not divide the rows, for an odd head_dim or
    rotary_dim, and for a rotary_dim above head_dim.
    """
    return _reorder(weight, head_dim, rotary_dim, "halves", "pairs")


def to_halves(
    weight: Float[Tensor, "rows ..."],
    head_dim: int,
    *,
    rotary_dim: int | None = None,
) -> Float[Tensor, "rows ..."]:
    """The inverse of `to_pairs`: a projection trained with "pairs", for "halves".

    >>> to_halves(torch.tensor([0.0, 2.0, 1.0, 3.0]), head_dim=4)  # a bias of one head
    tensor([0., 1., 2., 3.])

    In each head, row 2i becomes row i, and row 2i + 1 becomes row i + rotary_dim / 2.

    Raises ValueError where `to_pairs` does.
    """
    return _reorder(weight, head_dim, rotary_dim, "pairs", "halves")


def _reorder(
    weight: Tensor, head_dim: int, rotary_dim: int | None, old: str, new: str
) -> Tensor:
    rotary_dim = head_dim if rotary_dim is None else rotary_dim
    _guards.rotary_rows(weight, head_dim, rotary_dim)
    heads = weight.unflatten(0, (-1, head_dim)).movedim(1, -1)  # features last
    turning = join_pairs(*split_pairs(heads[..., :rotary_dim], old), new)
    reordered = torch.cat([turning, heads[..., rotary_dim:]], dim=-1)
    return reordered.movedim(-1, 1).flatten(0, 1)
