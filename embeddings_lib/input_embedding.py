"""What enters the first block: the token's row plus its position's (chapter 8)."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib.learned_positions import LearnedPositions
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
    Gemma take √embed_dim. Both parts are read directly: PyTorch's hooks on them do not
    run.

    Raises ValueError where the parts differ in width, device or dtype, and otherwise as
    the parts do: IndexError for an ID outside the table or a text beyond
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
    ):
        super().__init__()
        self.token_table = token_table
        self.positions = positions
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        if positions is not None:
            row, place = token_table.weight[0], positions.span(1)[0]
            if row.shape != place.shape:
                raise ValueError(
                    "token rows and position rows must have the same width, because "
                    f"they are added feature by feature; got {len(row)} and "
                    f"{len(place)}: make both with one embed_dim"
                )

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
        # Nobody else has seen these rows yet, so the rest may happen in place.
        x = self.token_table.forward(token_ids)
        if self.scale is not None:
            x.mul_(self.scale)
        table = self.positions
        if table is not None:
            if positions is None:
                rows = table.span(token_ids.shape[-1], offset)
            else:
                rows = table.forward(positions)
            self._check(x, rows)
            x.add_(rows)
        return self.dropout(x) if self.training else x

    def _check(self, x: Tensor, rows: Tensor) -> None:
        fits = x.dtype == rows.dtype or isinstance(self.positions, SinusoidalPositions)
        if not fits or x.device != rows.device:
            raise ValueError(
                "token rows and position rows must have one device and one dtype, "
                f"because they are added; got {x.dtype} on {x.device} and {rows.dtype} "
                f"on {rows.device}: move the whole layer with .to()"
            )

    def extra_repr(self) -> str:
        return f"scale={self.scale}"
