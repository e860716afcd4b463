"""Rotary positions: queries and keys turn with their place in the text (chapter 7)."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib.exact_angles import ExactAngles, wave_rates


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
    _check_layout(layout)
    if 2 * angles.shape[-1] > x.shape[-1]:
        raise ValueError(
            "each angle needs a pair of features, because features rotate in pairs; "
            f"got {angles.shape[-1]} angles for {x.shape[-1]} features"
        )
    angles = angles.unsqueeze(-2)  # the same in every head
    return turn(x, angles.cos(), angles.sin(), layout=layout)


def turn(
    x: Float[Tensor, "*batch seq heads head_dim"],
    cos: Float[Tensor, "*positions seq #heads pairs"],
    sin: Float[Tensor, "*positions seq #heads pairs"],
    *,
    layout: str,
) -> Float[Tensor, "*batch seq heads head_dim"]:
    """The equation of `rotate`, from cosines and sines.

    >>> x = torch.tensor([1.0, 2.0]).reshape(1, 1, 2)
    >>> zero, one = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    >>> turn(x, cos=zero, sin=one, layout="pairs").flatten()  # a quarter of a turn
    tensor([-2.,  1.])
    """
    pairs = cos.shape[-1]
    turning = x[..., : 2 * pairs].to(torch.promote_types(x.dtype, cos.dtype))
    axis, shape = (-1, (pairs, 2)) if layout == "pairs" else (-2, (2, pairs))
    a, b = turning.unflatten(-1, shape).unbind(axis)
    turned = torch.stack([a * cos - b * sin, b * cos + a * sin], axis).flatten(-2)
    return torch.cat([turned.to(x.dtype), x[..., 2 * pairs :]], dim=-1)


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
    turns (chapter 10). `rotary_dim` features turn, all by default, and the others stay.
    `layout` says which features form a pair, as in `rotate`: "halves" for weights of
    Llama and Mistral in transformers and of GPT-NeoX, "pairs" for those that Meta
    released and of GPT-J.

    There are no weights, and nothing grows: positions 0 to 1,048,575 are exact to 2e-7.

    Raises ValueError for an odd head_dim or rotary_dim, a rotary_dim above head_dim, an
    unknown layout, and q and k that do not fit, and otherwise as `ExactAngles` does.

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
        _check_layout(layout)
        self.head_dim = head_dim
        self.rotary_dim = _check_sizes(head_dim, rotary_dim)
        self.base = base
        self.layout = layout
        rates = wave_rates(self.rotary_dim, base)
        rates = scaling(rates) if scaling else rates
        self.waves = ExactAngles(rates, radius=attention_factor, device=device)

    def forward(
        self,
        q: Float[Tensor, "*batch seq q_heads head_dim"],
        k: Float[Tensor, "*batch seq k_heads head_dim"],
        positions: Int[Tensor, "*positions seq"] | None = None,
        *,
        offset: int = 0,
        inplace: bool = False,
    ) -> tuple[
        Float[Tensor, "*batch seq q_heads head_dim"],
        Float[Tensor, "*batch seq k_heads head_dim"],
    ]:
        """Both turned: (*batch, seq, heads, head_dim) -> the same.

        The positions are offset to offset + seq - 1; or `positions` names them, (seq)
        for the whole batch or (*batch, seq). With `inplace=True` the result may
        overwrite q and k, which saves memory.
        """
        if torch.compiler.is_compiling():
            if positions is None:
                positions = torch.arange(offset, offset + q.shape[-3], device=q.device)
            cos, sin = (part.unsqueeze(-2) for part in self.waves.cos_sin(positions))
            return tuple(turn(x, cos, sin, layout=self.layout) for x in (q, k))
        _check_call(self, q, k, positions, offset)
        if positions is None:
            turns = self.waves.span(q.shape[-3], offset)
        else:
            turns = self.waves(positions)
        turns = turns.unsqueeze(-2)  # the same in every head
        if q.dtype == torch.float64:
            turns = turns.to(torch.complex128)
        if self.layout == "pairs":
            turn_fast, parts = _turn_pairs, (turns,)
        else:
            cos, sin = turns.real, turns.imag.contiguous()
            turn_fast, parts = _turn_halves, (torch.cat([cos, cos], dim=-1), sin)
        return tuple(_by_slabs(turn_fast, x, parts, inplace) for x in (q, k))

    def extra_repr(self) -> str:
        return (
            f"head_dim={self.head_dim}, base={self.base}, "
            f"rotary_dim={self.rotary_dim}, layout={self.layout!r}"
        )


def _check_call(
    rotary: RotaryPositions, q: Tensor, k: Tensor, positions: Tensor | None, offset: int
) -> None:
    device = rotary.waves.low.device
    for x in (q, k):
        if x.ndim < 3 or x.shape[-1] != rotary.head_dim:
            raise ValueError(
                "q and k must have the shape (*batch, seq, heads, head_dim), as "
                f"each head's features rotate; got {tuple(x.shape)} with head_dim "
                f"{rotary.head_dim}"
            )
        if not x.is_floating_point() or x.dtype != q.dtype:
            raise TypeError(
                "q and k must have one floating-point dtype, because their product "
                f"is a score; got {q.dtype} and {k.dtype}: convert one with .to()"
            )
        if x.device != device:
            raise ValueError(
                "q and k must be on the module's device, because a rotation copies "
                f"nothing between devices; got {x.device} and a module on "
                f"{device}: move the module with .to('{x.device}')"
            )
    if q.shape[:-2] != k.shape[:-2]:
        raise ValueError(
            "q and k must have the same batch and seq, because they stand at the "
            f"same positions; got {tuple(q.shape)} and {tuple(k.shape)}: {_ORDER}"
        )
    if positions is None:
        return
    if offset:
        raise ValueError(
            "positions and offset exclude each other, because both say where the "
            f"text stands; got both, and offset {offset}: add it to the positions"
        )
    *batch, seq = q.shape[:-2]
    *given, length = positions.shape or (None,)
    if length != seq or given not in ([], [1] * len(given), batch):
        raise ValueError(
            "positions must have the shape (seq) or (*batch, seq), because each "
            f"token stands at one; got {tuple(positions.shape)} and q of shape "
            f"{tuple(q.shape)}: {_ORDER}"
        )


_ORDER = "if heads stand before seq, swap them with .transpose(-3, -2)"


def _check_layout(layout: str) -> None:
    if layout not in ("halves", "pairs"):
        raise ValueError(
            "layout must be 'halves' or 'pairs', because it says which features rotate "
            f"together; got {layout!r}"
        )


def _check_sizes(head_dim: int, rotary_dim: int | None) -> int:
    """The number of features that rotate."""
    if head_dim < 2 or head_dim % 2:
        raise ValueError(
            f"head_dim must be even, because features rotate in pairs; got {head_dim}"
        )
    rotary_dim = head_dim if rotary_dim is None else rotary_dim
    if not 2 <= rotary_dim <= head_dim or rotary_dim % 2:
        raise ValueError(
            "rotary_dim must be even and at most head_dim, because pairs of a head's "
            f"features rotate; got {rotary_dim} with head_dim {head_dim}"
        )
    return rotary_dim


def _by_slabs(
    turn_fast: Callable[..., Tensor],
    x: Tensor,
    parts: tuple[Tensor, ...],
    inplace: bool,
) -> Tensor:
    """`turn_fast(x, *parts)`, so that on a CPU intermediates stay in its cache."""
    if torch.is_grad_enabled() and x.requires_grad:
        if turn_fast is _turn_halves:
            return _TurnHalves.apply(x, *parts)
        return turn_fast(x, *parts, inplace=inplace)
    one_pass = turn_fast is _turn_pairs and x.dtype in (torch.float32, torch.float64)
    if x.numel() < 2**19 or one_pass or x.device.type != "cpu":
        return turn_fast(x, *parts, inplace=inplace)
    rows = max(1, 2**18 * x.shape[-3] // x.numel())
    out = x if inplace else torch.empty_like(x)
    slabs = [whole.split(rows, dim=-3) for whole in (out, x, *parts)]
    for target, source, *angles in zip(*slabs, strict=True):
        target.copy_(turn_fast(source, *angles))
    return out


class _TurnHalves(torch.autograd.Function):
    """`_turn_halves` for training: the gradient of a turn is the turn back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return _by_slabs(_turn_halves, x.detach(), (cos, sin), False)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx, grad):
        cos, sin = ctx.saved_tensors
        return _TurnHalves.apply(grad, cos, -sin), None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        return _TurnHalves.apply(tangent, *ctx.saved_tensors)


def _turn_pairs(x: Tensor, turns: Tensor, *, inplace: bool = False) -> Tensor:
    """One complex product for each pair of neighbours."""
    turning = _widen(x, 2 * turns.shape[-1])
    *strides, last = turning.stride()
    if last != 1 or any(n % 2 for n in (*strides, turning.storage_offset())):
        turned = turn(turning, turns.real, turns.imag, layout="pairs")
        return _assemble(x, turned, inplace)
    pairs = torch.view_as_complex(turning.unflatten(-1, (-1, 2)))
    if turning.dtype == x.dtype and not inplace:
        return _assemble(x, torch.view_as_real(pairs * turns).flatten(-2), inplace)
    pairs.mul_(turns)  # in x itself, or in its wider copy
    return x if turning.dtype == x.dtype else _assemble(x, turning, inplace)


def _turn_halves(
    x: Tensor, cos: Tensor, sin: Tensor, *, inplace: bool = False
) -> Tensor:
    """One pass for the cosines, given for both halves, and one for each sine."""
    turning = _widen(x, cos.shape[-1])
    turned = turning * cos
    (a, b), (to_a, to_b) = turning.chunk(2, -1), turned.chunk(2, -1)
    to_a.addcmul_(b, sin, value=-1)
    to_b.addcmul_(a, sin)
    return _assemble(x, turned, inplace)


def _widen(x: Tensor, size: int) -> Tensor:
    """The features that turn, with at least 32 bits each."""
    turning = x if size == x.shape[-1] else x[..., :size]
    return turning if x.dtype.itemsize > 2 else turning.float()


def _assemble(x: Tensor, turned: Tensor, inplace: bool) -> Tensor:
    """What turned, in the dtype of x, with the features of x that did not."""
    size = turned.shape[-1]
    if inplace:
        x[..., :size] = turned
        return x
    if size == x.shape[-1]:
        return turned.to(x.dtype)
    return torch.cat([turned.to(x.dtype), x[..., size:]], dim=-1)


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

    Raises ValueError where head_dim does not divide the rows, or as `RotaryPositions`.
    """
    return _reorder(weight, head_dim, rotary_dim, shape=(2, -1))


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

    Raises as `to_pairs` does.
    """
    return _reorder(weight, head_dim, rotary_dim, shape=(-1, 2))


def _reorder(
    weight: Tensor, head_dim: int, rotary_dim: int | None, shape: tuple[int, int]
) -> Tensor:
    rotary_dim = _check_sizes(head_dim, rotary_dim)
    if weight.shape[0] % head_dim:
        raise ValueError(
            "the rows must be heads times head_dim, because each head is reordered on "
            f"its own; got {weight.shape[0]} rows and head_dim {head_dim}"
        )
    heads = weight.unflatten(0, (-1, head_dim))
    turning = heads[:, :rotary_dim].unflatten(1, shape).transpose(1, 2).flatten(1, 2)
    return torch.cat([turning, heads[:, rotary_dim:]], dim=1).flatten(0, 1)
