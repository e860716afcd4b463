"""The smallest attention that shows what positions do (chapter 4)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from embeddings_lib import _guards


def attention(
    q: Float[Tensor, "*batch seq_q heads head_dim"],
    k: Float[Tensor, "*batch seq_k heads head_dim"],
    v: Float[Tensor, "*batch seq_k heads value_dim"],
    *,
    causal: bool = True,
    bias: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch seq_q heads value_dim"]:
    """Scaled dot-product attention: each query takes a weighted mean of the values.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[:, None]  # one head
    >>> attention(x, x, x)[-1]
    tensor([[0.7517, 0.7517]])

    Equation: output = softmax(q kᵀ / √head_dim + bias) v, for each head on its own.
    Nothing in it knows where a token stands, but for the mask and the bias.

    Raises ValueError for a causal mask with more queries than keys.

    Source: Vaswani et al. 2017, section 3.2.1.
    """
    weights = attention_weights(q, k, causal=causal, bias=bias)
    return torch.einsum("...hqk,...khd->...qhd", weights, v)


def attention_weights(
    q: Float[Tensor, "*batch seq_q heads head_dim"],
    k: Float[Tensor, "*batch seq_k heads head_dim"],
    *,
    causal: bool = True,
    bias: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch heads seq_q seq_k"]:
    """How much each query takes of each key: a row has no negative and sums to 1.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[:, None]  # one head
    >>> attention_weights(x, x)
    tensor([[[1.0000, 0.0000, 0.0000],
             [0.3302, 0.6698, 0.0000],
             [0.2483, 0.2483, 0.5035]]])

    With `causal=True` a query sees the keys up to its own place. The last query stands
    at the last key: with fewer queries than keys they are the newest, as in decoding.
    `bias` is added to the scores and broadcasts to (heads, seq_q, seq_k).

    Raises ValueError for a causal mask with more queries than keys.
    """
    seq_q, seq_k = q.shape[-3], k.shape[-3]
    scores = torch.einsum("...qhd,...khd->...hqk", q, k) / math.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias
    if causal:
        _guards.keys_for(seq_q, seq_k)
        seen = torch.ones(seq_q, seq_k, dtype=torch.bool, device=q.device)
        scores = scores.masked_fill(~seen.tril(seq_k - seq_q), -math.inf)
    return scores.softmax(dim=-1)
