"""What enters the first block: the token's row plus its position's (chapter 10)."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib import _guards
from embeddings_lib.learned_positions import LearnedPositions, rows_at
from embeddings_lib.sinusoidal_positions import SinusoidalPositions
from embeddings_lib.token_embedding import TokenEmbedding


class InputEmbedding(nn.Module):
    """Token IDs to the vectors that the first block of a language model reads.

    >>> import torch
    >>> layer = InputEmbedding(TokenEmbedding(50, 8), LearnedPositions(16, 8))
    >>> layer(torch.tensor([[7, 7, 3]])).shape
    torch.Size([1, 3, 8])
    >>> layer(torch.tensor([[4]]), offset=3).shape  # the next token of that text
    torch.Size([1, 1, 8])

    Equation: output[..., t, :] = scale · token_table[id_t] + positions[offset + t],
    feature by feature, with positions in tokens; then dropout, while training. Without
    `positions`, as in Llama and Mistral, where rotary positions enter in each block,
    it is the token's row alone. `scale` is 1 by default; the original Transformer and
    Gemma take √embed_dim. With `inplace=True` the token table is read past its hooks,
    and the sum is written over its rows, which saves a sixth of the time for 8 × 1,024
    tokens of GPT-2 on a CPU; take it where no hook on the token table must run.

    Raises ValueError where the parts differ in width, device or dtype, or for positions
    and an offset at once, and IndexError for an ID outside the table or a text beyond
    `context_length`.

    Source: Vaswani et al. 2017, sections 3.4 and 3.5; Radford et al. 2018, section 3.1.
    """

    def __init__(
        self,
        token_table: TokenEmbedding,
        positions: LearnedPositions | SinusoidalPositions | None = None,
        *,
        scale: float | None = None,
        dropout: float = 0.0,
        inplace: bool = False,
    ):
        super().__init__()
        self.token_table = token_table
        self.positions = positions
        self.scale = scale
        self.inplace = inplace
        self.dropout = nn.Dropout(dropout)
        if positions is not None:
            _guards.same_width(token_table.weight, positions.span(1))

    def forward(
        self,
        token_ids: Int[Tensor, "*batch seq"],
        positions: Int[Tensor, "*positions seq"] | None = None,
        *,
        offset: int = 0,
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """IDs to vectors: (*batch, seq) -> (*batch, seq, embed_dim).

        The first token stands at `offset`; or `positions` names all places, (seq) for
        the whole batch or (*batch, seq).
        """
        read = self.token_table.forward if self.inplace else self.token_table
        x = read(token_ids)
        if self.scale is not None:
            x = x.mul_(self.scale) if self.inplace else x * self.scale
        if self.positions is not None:
            places = rows_at(self.positions, token_ids.shape[-1], positions, offset)
            _guards.addable(x, places, self.positions)
            x = x.add_(places) if self.inplace else (x + places).to(x.dtype)
        return self.dropout(x) if self.training else x

    def extra_repr(self) -> str:
        return f"scale={self.scale}"
