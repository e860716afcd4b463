"""The smallest language model that takes any position scheme (chapter 8)."""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib import _guards
from embeddings_lib.attention import attention
from embeddings_lib.input_embedding import InputEmbedding
from embeddings_lib.rotary_positions import RotaryPositions

Bias = Callable[[int, int], Float[Tensor, "heads seq_q seq_k"]]


class TinyLM(nn.Module):
    """Token IDs in, scores for each next token out: a causal Transformer.

    >>> import torch
    >>> from embeddings_lib import TokenEmbedding
    >>> inputs = InputEmbedding(TokenEmbedding(50, 16))
    >>> model = TinyLM(inputs, layers=1, heads=2, rotary=RotaryPositions(head_dim=8))
    >>> model(torch.tensor([[7, 7, 3]])).shape
    torch.Size([1, 3, 50])

    Positions come in where the scheme has them: `inputs` adds them (learned,
    sinusoidal), `rotary` turns queries and keys, and `bias(seq_q, seq_k)` adds to the
    scores (ALiBi, T5); or nowhere. Each block is attention and then a two-layer
    network, normalized before and added to what it read. With `tied=True` the head that
    scores the next token *is* the token table, one module with two uses.

    Raises ValueError where heads do not divide embed_dim.

    Source: Radford et al. 2019, section 2.3, with fewer and smaller layers.
    """

    def __init__(
        self,
        inputs: InputEmbedding,
        *,
        layers: int = 2,
        heads: int = 4,
        rotary: RotaryPositions | None = None,
        bias: Bias | None = None,
        tied: bool = True,
    ):
        super().__init__()
        vocab_size, embed_dim = inputs.token_table.weight.shape
        _guards.multiple({"heads": heads}, embed_dim=embed_dim)
        self.inputs = inputs
        self.rotary = rotary
        self.bias = bias
        self.blocks = nn.ModuleList(Block(embed_dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(embed_dim)
        self.tied = tied
        self.head = inputs.token_table
        if not tied:
            self.head = nn.Linear(embed_dim, vocab_size, bias=False)

    def forward(
        self, token_ids: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq vocab_size"]:
        """Scores for the token after each token."""
        x = self.inputs(token_ids)
        seq = token_ids.shape[-1]
        bias = None if self.bias is None else self.bias(seq, seq)
        for block in self.blocks:
            x = block(x, self.rotary, bias)
        x, table = self.norm(x), self.inputs.token_table
        return F.linear(x, table.weight) if self.tied else self.head(x)

    def losses(
        self, token_ids: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq-1"]:
        """How surprising each token is after those before it, in nats."""
        scores = self(token_ids[..., :-1])
        losses = F.cross_entropy(
            scores.flatten(0, -2), token_ids[..., 1:].flatten().long(), reduction="none"
        )
        return losses.unflatten(0, scores.shape[:-1])

    def loss(self, token_ids: Int[Tensor, "*batch seq"]) -> Float[Tensor, ""]:
        """The mean of `losses`, in nats."""
        return self.losses(token_ids).mean()


class Block(nn.Module):
    """Attention, then a network for each token, each added to what it read.

    >>> import torch
    >>> Block(embed_dim=8, heads=2)(torch.zeros(1, 3, 8)).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, embed_dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(embed_dim)
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.out = nn.Linear(embed_dim, embed_dim)
        self.norm_2 = nn.LayerNorm(embed_dim)
        self.up = nn.Linear(embed_dim, 4 * embed_dim)
        self.down = nn.Linear(4 * embed_dim, embed_dim)

    def forward(
        self,
        x: Float[Tensor, "*batch seq embed_dim"],
        rotary: RotaryPositions | None = None,
        bias: Float[Tensor, "heads seq seq"] | None = None,
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """Vectors to vectors: (*batch, seq, embed_dim) -> the same."""
        parts = self.qkv(self.norm_1(x)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in parts)
        if rotary is not None:
            q, k = rotary(q, k)
        x = x + self.out(attention(q, k, v, bias=bias).flatten(-2))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))
