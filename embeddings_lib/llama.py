"""A Llama from the parts that the chapters build (the prologue lets it speak)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from embeddings_lib import _guards
from embeddings_lib.attention import KeysValues, with_past
from embeddings_lib.model_shape import ModelShape
from embeddings_lib.rotary_positions import RotaryPositions
from embeddings_lib.token_embedding import TokenEmbedding, next_token_losses, unembed


class Llama(nn.Module):
    """Token IDs in, scores for each next token out: the Transformer of Llama.

    >>> sizes = {"vocab_size": 50, "embed_dim": 16, "layers": 2, "heads": 4}
    >>> shape = ModelShape(**sizes, kv_heads=2, gated=True, biases="none")
    >>> model = Llama(shape, RotaryPositions(head_dim=4))
    >>> model(torch.tensor([[7, 7, 3]])).shape
    torch.Size([1, 3, 50])

    A row of the token table enters; each block adds to it what attention brings from
    earlier tokens, and then what a network makes of it; the head compares the result
    with a row for each token of the vocabulary. Positions come in with `rotary` alone,
    which turns the queries and keys of every block. A `tied` head *is* the token table.

    Raises ValueError for a shape that is not Llama's: a gated MLP and no biases.

    Source: Touvron et al. 2023, section 2.2; grouped heads from Ainslie et al. 2023.
    """

    def __init__(
        self,
        shape: ModelShape,
        rotary: RotaryPositions | None,
        *,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        _guards.llama_shape(shape)
        self.shape = shape
        self.token_table = TokenEmbedding(shape.vocab_size, shape.embed_dim)
        self.rotary = rotary
        self.blocks = nn.ModuleList(
            LlamaBlock(shape, norm_eps=norm_eps) for _ in range(shape.layers)
        )
        self.norm = nn.RMSNorm(shape.embed_dim, eps=norm_eps)
        self.head = self.token_table
        if not shape.tied:
            self.head = nn.Linear(shape.embed_dim, shape.vocab_size, bias=False)

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
        seq_k the tokens read so far.
        """
        x = self.hidden(token_ids, positions=positions, mask=mask, cache=cache)
        return self.scores(x)

    def hidden(
        self,
        token_ids: Int[Tensor, "*batch seq"],
        *,
        positions: Int[Tensor, "*positions seq"] | None = None,
        mask: Bool[Tensor, "..."] | None = None,
        cache: list[KeysValues] | None = None,
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """What leaves the last block: the arguments are those of `forward`."""
        before = cache[0][0].shape[-3] if cache else 0
        if positions is None:
            end = before + token_ids.shape[-1]
            positions = torch.arange(before, end, device=token_ids.device)
        x, kept = self.token_table(token_ids), []
        for i, block in enumerate(self.blocks):
            past = cache[i] if cache else None
            x, keys_values = block(x, self.rotary, positions, mask, past)
            kept.append(keys_values)
        if cache is not None:
            cache[:] = kept
        return x

    def scores(
        self, x: Float[Tensor, "*batch seq embed_dim"]
    ) -> Float[Tensor, "*batch seq vocab_size"]:
        """What leaves the last block, compared with every row of the head."""
        return unembed(self.norm(x), self.head)

    def losses(
        self,
        token_ids: Int[Tensor, "*batch seq"],
        *,
        positions: Int[Tensor, "*positions read"] | None = None,
        mask: Bool[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "*batch seq-1"]:
        """How surprising each token is after those before it, in nats.

        The last token is not read, so `positions` and `mask` are those of the others.
        """
        scores = self(token_ids[..., :-1], positions=positions, mask=mask)
        return next_token_losses(scores, token_ids)

    @torch.no_grad()
    def generate(
        self,
        token_ids: Int[Tensor, "*batch seq"],
        new_tokens: int,
        *,
        real: Bool[Tensor, "*batch seq"] | None = None,
        stop: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Int[Tensor, "*batch new_tokens"]:
        """The tokens with which the model continues: each the likeliest, or drawn.

        With a `generator` each is drawn with the probability that the model gives it.
        A text ends at its first `stop`, and repeats it. For texts of different lengths
        in one batch see `left_pad`, whose second result is `real`.
        """
        positions = mask = None
        if real is not None:
            positions = (real.cumsum(-1) - 1).clamp(min=0)
            mask = real.unsqueeze(-2)  # (*batch, 1, seq): for every query
        cache, tokens, written = [], token_ids, []
        for _ in range(new_tokens):
            x = self.hidden(tokens, positions=positions, mask=mask, cache=cache)
            scores = self.scores(x[..., -1:, :]).squeeze(-2)
            if generator is None:
                tokens = scores.argmax(dim=-1, keepdim=True)
            else:
                chances = scores.softmax(dim=-1)
                tokens = torch.multinomial(chances, 1, generator=generator)
            if stop is not None and written:
                ended = written[-1] == stop
                tokens = tokens.masked_fill(ended, stop)
            written.append(tokens)
            if real is not None:
                positions = positions[..., -1:] + 1
                mask = F.pad(mask, (0, 1), value=True)
        return torch.cat(written, dim=-1)


class LlamaBlock(nn.Module):
    """Attention, then a gated network for each token, each added to what it read.

    >>> shape = ModelShape(
    ...     vocab_size=9, embed_dim=8, layers=1, heads=2, gated=True, biases="none"
    ... )
    >>> x, keys_values = LlamaBlock(shape)(torch.zeros(1, 3, 8))
    >>> x.shape
    torch.Size([1, 3, 8])

    Equation: x + W_out attention(q, k, v), and then x + W_down (silu(W_gate x) · W_up
    x), where what is read is divided by its root mean square before. The second result
    is the turned keys and the values, of earlier tokens too.
    """

    def __init__(self, shape: ModelShape, *, norm_eps: float = 1e-5):
        super().__init__()
        dim, (q, kv, mlp) = shape.embed_dim, shape.widths()
        self.head_dim = q // shape.heads
        self.norm_1 = nn.RMSNorm(dim, eps=norm_eps)
        self.q = nn.Linear(dim, q, bias=False)
        self.k = nn.Linear(dim, kv, bias=False)
        self.v = nn.Linear(dim, kv, bias=False)
        self.out = nn.Linear(q, dim, bias=False)
        self.norm_2 = nn.RMSNorm(dim, eps=norm_eps)
        self.gate = nn.Linear(dim, mlp, bias=False)
        self.up = nn.Linear(dim, mlp, bias=False)
        self.down = nn.Linear(mlp, dim, bias=False)

    def forward(
        self,
        x: Float[Tensor, "*batch seq embed_dim"],
        rotary: RotaryPositions | None = None,
        positions: Int[Tensor, "*positions seq"] | None = None,
        mask: Bool[Tensor, "..."] | None = None,
        past: KeysValues | None = None,
    ) -> tuple[Float[Tensor, "*batch seq embed_dim"], KeysValues]:
        """Vectors to vectors: (*batch, seq, embed_dim) -> the same."""
        read = self.norm_1(x)
        q, k, v = (
            part(read).unflatten(-1, (-1, self.head_dim))
            for part in (self.q, self.k, self.v)
        )
        if rotary is not None:
            q, k = rotary(q, k, positions)
        k, v = with_past(past, k, v)
        x = x + self.out(_attention(q, k, v, mask).flatten(-2))
        read = self.norm_2(x)
        return x + self.down(F.silu(self.gate(read)) * self.up(read)), (k, v)


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """`attention` of chapter 5 by PyTorch's kernel, nine times as fast on long texts.

    It takes the heads before the sequence, and the whole mask, once it has one.
    """
    seq_q, seq_k = q.shape[-3], k.shape[-3]
    square = mask is None and bool(seq_q == seq_k)  # a tensor while traced
    if mask is not None or 1 < seq_q < seq_k:
        causal = torch.ones(seq_q, seq_k, dtype=torch.bool, device=q.device)
        causal = causal.tril(seq_k - seq_q)
        mask = causal if mask is None else (causal & mask).unsqueeze(-3)
    q, k, v = (x.transpose(-3, -2) for x in (q, k, v))
    alone = q.ndim == 3  # a text without a batch, for which there is no fast kernel
    if alone:
        q, k, v = (x.unsqueeze(0) for x in (q, k, v))
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=square, enable_gqa=True
    )
    return (out.squeeze(0) if alone else out).transpose(-3, -2)


def left_pad(
    texts: list[list[int]], pad_id: int = 0
) -> tuple[Int[Tensor, "batch seq"], Bool[Tensor, "batch seq"]]:
    """Texts of different lengths as one batch, all ending in the last column.

    >>> token_ids, real = left_pad([[5, 6, 7], [8]])
    >>> token_ids
    tensor([[5, 6, 7],
            [0, 0, 8]])
    >>> real
    tensor([[ True,  True,  True],
            [False, False,  True]])

    The second result says which tokens are real. Positions are counted from the first
    real one, and nobody looks at the others: so a text is read as it would be alone.
    """
    seq = max(map(len, texts))
    padded = [[pad_id] * (seq - len(text)) + text for text in texts]
    real = [[False] * (seq - len(text)) + [True] * len(text) for text in texts]
    return torch.tensor(padded), torch.tensor(real)
