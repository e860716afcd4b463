"""The smallest attention that shows what positions do (chapter 5)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from embeddings_lib import _guards


def attention(
    q: Float[Tensor, "*batch seq_q heads head_dim"],
    k: Float[Tensor, "*batch seq_k kv_heads head_dim"],
    v: Float[Tensor, "*batch seq_k kv_heads value_dim"],
    *,
    causal: bool = True,
    bias: Float[Tensor, "..."] | None = None,
    mask: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch seq_q heads value_dim"]:
    """Scaled dot-product attention: each query takes a weighted mean of the values.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[:, None]  # one head
    >>> attention(x, x, x)[-1]
    tensor([[0.7517, 0.7517]])

    Equation: output = softmax(q kᵀ / √head_dim + bias) v, for each head on its own.
    Nothing in it knows where a token stands, but for the mask and the bias. Where a
    token has fewer heads of keys than of queries, each serves a group of neighbours.

    Raises as `attention_weights` does.

    Source: Vaswani et al. 2017, section 3.2.1; groups from Ainslie et al. 2023.
    """
    weights = attention_weights(q, k, causal=causal, bias=bias, mask=mask)
    weights = weights.unflatten(-3, (v.shape[-2], -1))  # (..., kv_heads, group, q, k)
    return torch.einsum("...hgqk,...khd->...qhgd", weights, v).flatten(-3, -2)


def attention_weights(
    q: Float[Tensor, "*batch seq_q heads head_dim"],
    k: Float[Tensor, "*batch seq_k kv_heads head_dim"],
    *,
    causal: bool = True,
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
    `bias` is added to the scores, and `mask` is True where a query may look; both
    broadcast to (*batch, heads, seq_q, seq_k). A query that may look nowhere takes
    nothing: its row is 0.

    Raises ValueError for a causal mask with more queries than keys, and for heads of
    queries that the heads of keys do not divide.
    """
    _guards.attendable(q, k, causal)
    seq_q, seq_k, kv_heads = q.shape[-3], k.shape[-3], k.shape[-2]
    groups = q.unflatten(-2, (kv_heads, -1))  # (*batch, seq_q, kv_heads, group, dim)
    scores = torch.einsum("...qhgd,...khd->...hgqk", groups, k).flatten(-4, -3)
    scores = scores / math.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias
    seen = torch.ones(seq_q, seq_k, dtype=torch.bool, device=q.device)
    if causal:
        seen = seen.tril(seq_k - seq_q)
    if mask is not None:
        seen = seen & mask
    weights = scores.masked_fill(~seen, -math.inf).softmax(dim=-1)
    return weights.masked_fill(~seen, 0.0)  # and no NaN where a query sees nothing
