"""The smallest attention that shows what positions do (chapter 5)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from embeddings_lib import _guards

# Of the tokens read so far, both of (*batch, seq_k, kv_heads, head_dim).
KeysValues = tuple[Tensor, Tensor]


def attention(
    q: Float[Tensor, "*batch seq_q heads head_dim"],
    k: Float[Tensor, "*batch seq_k kv_heads head_dim"],
    v: Float[Tensor, "*batch seq_k kv_heads value_dim"],
    *,
    causal: bool = True,
    scale: float | None = None,
    bias: Float[Tensor, "..."] | None = None,
    mask: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch seq_q heads value_dim"]:
    """Scaled dot-product attention: each query takes a weighted mean of the values.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[:, None]  # one head
    >>> attention(x, x, x)[-1]
    tensor([[0.7517, 0.7517]])

    Equation: output = softmax(scale · q kᵀ + bias) v, for each head on its own, with
    the scale 1 / √head_dim unless another is given. Nothing in it knows where a token
    stands, but for the mask and the bias. Where a token has fewer heads of keys than of
    queries, each serves a group of neighbours. 16-bit numbers are computed with in 32
    bits, and rounded once at the end.

    Raises as `attention_weights` does.

    Source: Vaswani et al. 2017, section 3.2.1; groups from Ainslie et al. 2023.
    """
    q = wide(q)
    weights = attention_weights(q, k, causal=causal, scale=scale, bias=bias, mask=mask)
    weights = weights.unflatten(-3, (v.shape[-2], -1))  # (..., kv_heads, group, q, k)
    out = torch.einsum("...hgqk,...khd->...qhgd", weights, wide(v))
    return out.flatten(-3, -2).to(v.dtype)


def attention_weights(
    q: Float[Tensor, "*batch seq_q heads head_dim"],
    k: Float[Tensor, "*batch seq_k kv_heads head_dim"],
    *,
    causal: bool = True,
    scale: float | None = None,
    bias: Float[Tensor, "..."] | None = None,
    mask: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch heads seq_q seq_k"]:
    """How much each query takes of each key: a row has no negative and sums to 1.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[:, None]  # one head
    >>> attention_weights(x, x)
    tensor([[[1.0000, 0.0000, 0.0000],
             [0.3302, 0.6698, 0.0000],
             [0.2483, 0.2483, 0.5035]]])

    With `causal=True` a query sees the keys up to its own place. The last query stands
    at the last key: with fewer queries than keys they are the newest, as in decoding.
    `bias` is added to the scores, and may be -inf where a query may not look; `mask`
    is True where it may. Both broadcast to (*batch, heads, seq_q, seq_k). A query that
    may look nowhere takes nothing: its row is 0, and so are its gradients.

    Raises ValueError for a causal mask with more queries than keys, and for heads of
    queries that the heads of keys do not divide, and TypeError for a mask that is not
    boolean.
    """
    _guards.attendable(q, k, causal, mask)
    seq_q, seq_k, kv_heads = q.shape[-3], k.shape[-3], k.shape[-2]
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    groups = (wide(q) * scale).unflatten(-2, (kv_heads, -1))  # of neighbouring heads
    scores = torch.einsum("...qhgd,...khd->...hgqk", groups, wide(k)).flatten(-4, -3)
    if bias is not None:
        scores = scores + bias
    seen = torch.ones(seq_q, seq_k, dtype=torch.bool, device=q.device)
    seen = seen.tril(seq_k - seq_q) if causal else seen
    seen = seen if mask is None else seen & mask
    scores = scores.masked_fill(~seen, -math.inf)
    nowhere = (scores == -math.inf).all(dim=-1, keepdim=True)  # queries that see no key
    weights = scores.masked_fill(nowhere, 0.0).softmax(dim=-1)
    return weights.masked_fill(nowhere, 0.0).to(q.dtype)


def wide(x: Tensor) -> Tensor:
    """With at least 32 bits, for sums: float16 ends at 65,504, bfloat16 has 8 bits.

    >>> wide(torch.ones(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def with_past(past: KeysValues | None, k: Tensor, v: Tensor) -> KeysValues:
    """The keys and values of the tokens read before, and then those of the new ones.

    >>> past = torch.zeros(3, 1, 2), torch.zeros(3, 1, 2)  # three tokens, one head
    >>> k, v = with_past(past, torch.ones(1, 1, 2), torch.ones(1, 1, 2))
    >>> k.shape
    torch.Size([4, 1, 2])
    """
    if past is None:
        return k, v
    return torch.cat([past[0], k], dim=-3), torch.cat([past[1], v], dim=-3)
