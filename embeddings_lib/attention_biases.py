"""Positions as a number added to each score: ALiBi and T5 (chapter 13)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib import _guards


def alibi_slopes(heads: int) -> Float[Tensor, " heads"]:
    """How much each head takes from a score for each token of distance.

    >>> alibi_slopes(4)
    tensor([0.2500, 0.0625, 0.0156, 0.0039])

    Equation: head h of n, counted from 1, has the slope 2^(-8h / n). Where n is no
    power of two, the slopes of the next lower power come first, and then every other
    slope of the next higher one.

    Raises ValueError for fewer heads than one.

    Source: Press et al. 2022, section 3, and for other n the code released with it.
    """
    _guards.at_least(1, heads=heads)
    power = 2 ** int(math.log2(heads))
    exponents = torch.arange(1, 2 * power + 1) * (4 / power)  # as for 2 · power heads
    return 2.0 ** -torch.cat([exponents[1::2], exponents[0::2]])[:heads]


def alibi_bias(
    heads: int,
    seq_q: int,
    seq_k: int | None = None,
    *,
    device: torch.device | str | None = None,
) -> Float[Tensor, "heads seq_q seq_k"]:
    """ALiBi: the farther a key is behind its query, the more its score loses.

    >>> alibi_bias(heads=2, seq_q=3)[0]
    tensor([[ 0.0000,  0.0000,  0.0000],
            [-0.0625,  0.0000,  0.0000],
            [-0.1250, -0.0625,  0.0000]])

    Equation: -slope · (m - n) for a query at position m and a key at n, in tokens; 0
    for keys ahead, which a causal mask hides. As in `attention`, the last query stands
    at the last key.

    Raises ValueError for fewer heads than one, or more queries than keys.

    Source: Press et al. 2022, section 3.
    """
    distances = _distances(seq_q, seq_k, device)
    return alibi_slopes(heads).to(device)[:, None, None] * -distances


def t5_buckets(
    distances: Int[Tensor, "*shape"], *, buckets: int = 32, max_distance: int = 128
) -> Int[Tensor, "*shape"]:
    """The bucket of each distance: one each for near ones, wide ones farther off.

    >>> t5_buckets(torch.tensor([0, 1, 3, 4, 6, 9, 15, 16, 999]), buckets=8,
    ...            max_distance=16)
    tensor([0, 1, 3, 4, 5, 6, 7, 7, 7])

    Equation: with half = buckets / 2, a distance below half is its own bucket; beyond,
    the bucket is half + ⌊half · ln(distance / half) / ln(max_distance / half)⌋, and the
    last one from max_distance on. Distances are in tokens, towards earlier ones.

    Raises ValueError for fewer than 2 buckets, or a max_distance that is not above half
    of them.

    Source: Raffel et al. 2020, section 2.1, and the code released with it.
    """
    half = buckets // 2
    _guards.buckets(buckets, max_distance)
    far = (distances.clamp(min=half) / half).log() / math.log(max_distance / half)
    wide = half + (far * (buckets - half)).long()
    return torch.where(distances < half, distances, wide.clamp(max=buckets - 1))


class T5Bias(nn.Module):
    """T5: for each head, a learned number for each bucket of distances.

    >>> bias = T5Bias(heads=2, buckets=8, max_distance=16)
    >>> bias(3, 5).shape  # three queries at the end of five keys
    torch.Size([2, 3, 5])

    Equation: bias[h, m, n] = weight[bucket of m - n, h], the bucket of 0 for keys
    ahead, which a causal mask hides. The numbers start at 0. The one entry of
    `state_dict` is `weight`, as in `relative_attention_bias` of T5's decoder.

    Raises ValueError for fewer heads than one, fewer than 2 buckets, or a max_distance
    that is not above half of them.

    Source: Raffel et al. 2020, section 2.1.
    """

    def __init__(
        self,
        heads: int,
        *,
        buckets: int = 32,
        max_distance: int = 128,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        _guards.t5(heads, buckets, max_distance)
        self.buckets = buckets
        self.max_distance = max_distance
        self.weight = nn.Parameter(torch.zeros(buckets, heads, device=device))

    def forward(
        self, seq_q: int, seq_k: int | None = None
    ) -> Float[Tensor, "heads seq_q seq_k"]:
        """The bias of seq_q queries at the end of seq_k keys, no fewer than these."""
        distances = _distances(seq_q, seq_k, self.weight.device)
        which = t5_buckets(
            distances, buckets=self.buckets, max_distance=self.max_distance
        )
        return self.weight[which].permute(2, 0, 1)

    def extra_repr(self) -> str:
        buckets, heads = self.weight.shape
        return f"heads={heads}, buckets={buckets}, max_distance={self.max_distance}"


def _distances(
    seq_q: int, seq_k: int | None, device: torch.device | str | None
) -> Int[Tensor, "seq_q seq_k"]:
    """How many tokens each key is behind each query, 0 for keys ahead."""
    seq_k = seq_q if seq_k is None else seq_k
    _guards.keys_for(seq_q, seq_k)
    keys = torch.arange(seq_k, device=device)
    return (keys[seq_k - seq_q :, None] - keys).clamp(min=0)
