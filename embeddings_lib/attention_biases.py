"""Positions as a number added to each score: ALiBi and T5 (chapter 13)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib import _guards


def alibi_slopes(
    heads: int, *, alibi_bias_max: int | float = 8
) -> Float[Tensor, " heads"]:
    """How much each head takes from a score for each token of distance.

    >>> alibi_slopes(4)
    tensor([0.2500, 0.0625, 0.0156, 0.0039])

    Equation: head h of n, counted from 1, has the slope 2^(-max · h / n), with max =
    `alibi_bias_max`, 8 in the paper. Where n is no power of two, the slopes of the next
    lower power come first, and then every other slope of the next higher one.

    Raises ValueError for fewer heads than one, or an alibi_bias_max that is not above
    0.

    Source: Press et al. 2022, section 3, and for other n the code released with it;
    `alibi_bias_max` from the code of MPT.
    """
    _guards.alibi(heads, alibi_bias_max)
    power = 2 ** int(math.log2(heads))
    numbers = torch.arange(1, 2 * power + 1, dtype=torch.float32)
    slopes = 2.0 ** (-numbers * alibi_bias_max / (2 * power))  # as for 2 · power heads
    return torch.cat([slopes[1::2], slopes[0::2]])[:heads]


def alibi_bias(
    heads: int,
    seq_q: int,
    seq_k: int | None = None,
    *,
    positions: Int[Tensor, "*batch seq_k"] | None = None,
    symmetric: bool = False,
    slopes: Float[Tensor, " heads"] | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "*batch heads seq_q seq_k"]:
    """ALiBi: the farther a key is behind its query, the more its score loses.

    >>> alibi_bias(heads=2, seq_q=3)[0]
    tensor([[ 0.0000,  0.0000,  0.0000],
            [-0.0625,  0.0000,  0.0000],
            [-0.1250, -0.0625,  0.0000]])

    Equation: -slope · (m - n) for a query at position m and a key at n, in tokens; 0
    for keys ahead, which a causal mask hides. With `symmetric=True`, for encoders, it
    is -slope · |m - n|. As in `attention`, the last query stands at the last key, and
    keys are counted one by one; or `positions` names the places of all keys. `slopes`
    are those of `alibi_slopes` unless others are given. The result is float32, whatever
    the default, because a 16-bit format tells only its first 256 or 2,048 distances
    apart; `attention` adds it in 32 bits.

    Raises ValueError for fewer heads than one, slopes that are not one for each head,
    more queries than keys, or positions that are not those of all keys.

    Source: Press et al. 2022, section 3; the symmetric form is the one that its authors
    propose for encoders.
    """
    _guards.slopes(heads, slopes)
    slopes = alibi_slopes(heads) if slopes is None else slopes
    distances = _distances(seq_q, seq_k, positions, device)
    behind = distances.abs() if symmetric else distances.clamp(min=0)
    return slopes.to(behind.device)[:, None, None] * -behind.unsqueeze(-3)


def t5_buckets(
    distances: Int[Tensor, "*shape"],
    *,
    buckets: int = 32,
    max_distance: int = 128,
    bidirectional: bool = False,
) -> Int[Tensor, "*shape"]:
    """The bucket of each distance: one each for near ones, wide ones farther off.

    >>> t5_buckets(torch.tensor([0, 1, 3, 4, 6, 9, 15, 16, 999]), buckets=8,
    ...            max_distance=16)
    tensor([0, 1, 3, 4, 5, 6, 7, 7, 7])
    >>> t5_buckets(torch.tensor([2, 1, 0, -1, -2]), buckets=8, bidirectional=True)
    tensor([2, 1, 0, 5, 6])

    Equation: with half = buckets / 2, a distance below half is its own bucket; beyond,
    the bucket is half + ⌊half · ln(distance / half) / ln(max_distance / half)⌋, and the
    last one from max_distance on. Distances are in tokens, towards earlier ones; those
    to later ones are negative, and have the bucket of 0. With `bidirectional=True`, as
    in T5's encoder, half of the buckets are for earlier tokens, by the same rule, and
    the other half for later ones.

    Raises ValueError for fewer than 2 buckets (4 with both directions), or a
    max_distance that is not above half of those for one direction.

    Source: Raffel et al. 2020, section 2.1, and the code released with it.
    """
    _guards.buckets(buckets, max_distance, bidirectional)
    first = 0
    if bidirectional:
        buckets //= 2
        first = buckets * (distances < 0)
        distances = distances.abs()
    distances, half = distances.clamp(min=0), buckets // 2
    far = (distances.clamp(min=half).float() / half).log()
    wide = half + (far / math.log(max_distance / half) * (buckets - half)).long()
    near = distances < half
    return first + torch.where(near, distances, wide.clamp(max=buckets - 1))


class T5Bias(nn.Module):
    """T5: for each head, a learned number for each bucket of distances.

    >>> bias = T5Bias(heads=2, buckets=8, max_distance=16)
    >>> bias(3, 5).shape  # three queries at the end of five keys
    torch.Size([2, 3, 5])

    Equation: bias[h, m, n] = weight[bucket of m - n, h], the bucket of 0 for keys
    ahead, which a causal mask hides. With `bidirectional=True`, as in T5's encoder,
    keys ahead have buckets of their own. The numbers start at 0.

    The one entry of `state_dict` is `weight`, as in T5's `relative_attention_bias`. The
    same table means other distances in an encoder than in a decoder, and nothing in the
    numbers says which it was. So take a published one with `from_transformers`, which
    knows. What `state_dict` of this class returns also says it, until it is copied into
    a plain dictionary or another file format, and `load_state_dict` then refuses a
    table of the other direction.

    Raises ValueError for fewer heads than one, fewer than 2 buckets (4 with both
    directions), or a max_distance that is not above half of those for one direction.

    Source: Raffel et al. 2020, section 2.1.
    """

    def __init__(
        self,
        heads: int,
        *,
        buckets: int = 32,
        max_distance: int = 128,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        _guards.t5(heads, buckets, max_distance, bidirectional)
        self.buckets = buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.weight = nn.Parameter(torch.empty(buckets, heads, device=device))
        self.reset_parameters()

    @classmethod
    def from_transformers(cls, part: nn.Module) -> "T5Bias":
        """The bias of T5's encoder or decoder in transformers, with its direction.

        >>> from transformers import T5Config, T5EncoderModel
        >>> model = T5EncoderModel(T5Config(d_model=8, num_layers=1, num_heads=2))
        >>> T5Bias.from_transformers(model.encoder)
        T5Bias(heads=2, buckets=32, max_distance=128, bidirectional=True)

        `part` is `model.encoder`, `model.decoder` or one attention, of T5 or a model
        with its names, such as mT5 and LongT5.

        Raises ValueError for a part that has no such table, or several.
        """
        tables = [
            module
            for module in part.modules()
            if hasattr(module, "relative_attention_bias")
        ]
        _guards.one_table(tables)
        (theirs,) = tables
        weight = theirs.relative_attention_bias.weight
        bias = cls(
            weight.shape[1],
            buckets=theirs.relative_attention_num_buckets,
            max_distance=theirs.relative_attention_max_distance,
            bidirectional=not theirs.is_decoder,
        )
        bias.weight = nn.Parameter(weight.detach().clone())
        return bias

    def reset_parameters(self) -> None:
        """Zeros, so that at first no distance counts more than another."""
        nn.init.zeros_(self.weight)

    def forward(
        self,
        seq_q: int,
        seq_k: int | None = None,
        *,
        positions: Int[Tensor, "*batch seq_k"] | None = None,
    ) -> Float[Tensor, "*batch heads seq_q seq_k"]:
        """The bias of seq_q queries at the end of seq_k keys, no fewer than these.

        Keys are counted one by one, or `positions` names the places of all.
        """
        which = t5_buckets(
            _distances(seq_q, seq_k, positions, self.weight.device),
            buckets=self.buckets,
            max_distance=self.max_distance,
            bidirectional=self.bidirectional,
        )
        return self.weight[which].movedim(-1, -3)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if hasattr(destination, "_metadata"):
            about = destination._metadata[prefix[:-1]]
            about["bidirectional"] = self.bidirectional

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors
    ):
        saved = local_metadata.get("bidirectional", self.bidirectional)
        if saved != self.bidirectional:
            errors.append(
                f"{prefix}weight must come from a T5Bias with bidirectional="
                f"{self.bidirectional}, because a bucket means another distance in an "
                f"encoder than in a decoder; got bidirectional={saved}"
            )
            return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing, unexpected, errors
        )

    def extra_repr(self) -> str:
        buckets, heads = self.weight.shape
        sizes = f"heads={heads}, buckets={buckets}, max_distance={self.max_distance}"
        return sizes + ", bidirectional=True" * self.bidirectional


def _distances(
    seq_q: int,
    seq_k: int | None,
    positions: Int[Tensor, "*batch seq_k"] | None,
    device: torch.device | str | None,
) -> Int[Tensor, "*batch seq_q seq_k"]:
    """How many tokens each key is behind each query, below 0 for keys ahead."""
    if seq_k is None:
        seq_k = seq_q if positions is None else positions.shape[-1]
    _guards.keys_for(seq_q, seq_k, positions)
    keys = torch.arange(seq_k, device=device) if positions is None else positions
    return keys[..., seq_k - seq_q :, None] - keys[..., None, :]
