"""The smallest language model that takes any position scheme (chapter 10)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from embeddings_lib import _guards
from embeddings_lib.attention import KeysValues, attention, with_past
from embeddings_lib.input_embedding import InputEmbedding
from embeddings_lib.rotary_positions import RotaryPositions
from embeddings_lib.token_embedding import next_token_losses, unembed

Bias = Callable[..., Float[Tensor, "*batch heads seq_q seq_k"]]


class TinyLM(nn.Module):
    """Token IDs in, scores for each next token out: a causal Transformer.

    >>> from embeddings_lib import TokenEmbedding
    >>> inputs = InputEmbedding(TokenEmbedding(50, 16))
    >>> model = TinyLM(inputs, layers=1, heads=2, rotary=RotaryPositions(head_dim=8))
    >>> model(torch.tensor([[7, 7, 3]])).shape
    torch.Size([1, 3, 50])

    Positions come in where the scheme has them: `inputs` adds them (learned,
    sinusoidal), `rotary` turns queries and keys, and `bias(seq_q, seq_k)` adds to the
    scores (ALiBi, T5), with `positions` of all keys where a call names some; or
    nowhere. Each block is attention and then a two-layer
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
        self.head = inputs.token_table
        if not tied:
            self.head = nn.Linear(embed_dim, vocab_size, bias=False)

    def forward(
        self,
        token_ids: Int[Tensor, "*batch seq"],
        *,
        positions: Int[Tensor, "*positions seq"] | None = None,
        mask: Bool[Tensor, "..."] | None = None,
        cache: list[KeysValues] | None = None,
    ) -> Float[Tensor, "*batch seq vocab_size"]:
        """Scores for the token after each token.

        `cache` holds what each block keeps of the tokens read before; start with an
        empty list, and each call adds its own. `positions` are counted from there on
        unless they are given. A query sees its own token and those before it, and of
        these only where `mask` is True: it broadcasts to (*batch, seq, seq_k), with
        seq_k the tokens read so far. A bias sees given positions too, and those of the
        cache as if they led up to them one by one.
        """
        before, seq = cache[0][0].shape[-3] if cache else 0, token_ids.shape[-1]
        bias = self._bias(seq, before, positions)
        if positions is None:
            positions = torch.arange(before, before + seq, device=token_ids.device)
        if mask is not None:
            mask = torch.atleast_2d(mask).unsqueeze(-3)  # the same in every head
        x, kept = self.inputs(token_ids, positions), []
        for i, block in enumerate(self.blocks):
            past = cache[i] if cache else None
            x = block(x, self.rotary, bias, positions, mask, past, kept)
        if cache is not None:
            cache[:] = kept
        return unembed(self.norm(x), self.head)

    def _bias(
        self, seq: int, before: int, positions: Int[Tensor, "*positions seq"] | None
    ) -> Float[Tensor, "*batch heads seq seq_k"] | None:
        """What is added to the scores of seq tokens that follow those of the cache."""
        if self.bias is None:
            return None
        if positions is None:
            return self.bias(seq, before + seq)
        steps = torch.arange(before, 0, -1, device=positions.device)
        places = torch.cat([positions[..., :1] - steps, positions], dim=-1)
        return self.bias(seq, before + seq, positions=places)

    def losses(
        self, token_ids: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq-1"]:
        """How surprising each token is after those before it, in nats."""
        return next_token_losses(self(token_ids[..., :-1]), token_ids)

    def loss(self, token_ids: Int[Tensor, "*batch seq"]) -> Float[Tensor, ""]:
        """The mean of `losses`, in nats."""
        return self.losses(token_ids).mean()


class Block(nn.Module):
    """Attention, then a network for each token, each added to what it read.

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
        bias: Float[Tensor, "..."] | None = None,
        positions: Int[Tensor, "*positions seq"] | None = None,
        mask: Bool[Tensor, "..."] | None = None,
        past: KeysValues | None = None,
        kept: list[KeysValues] | None = None,
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """Vectors to vectors: (*batch, seq, embed_dim) -> the same.

        The keys and values of earlier tokens are `past`, and those of all go to `kept`.
        """
        parts = self.qkv(self.norm_1(x)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in parts)
        if rotary is not None:
            q, k = rotary(q, k, positions)
        k, v = with_past(past, k, v)
        if kept is not None:
            kept.append((k, v))
        x = x + self.out(attention(q, k, v, bias=bias, mask=mask).flatten(-2))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))
