"""GPT-2's second table: one learned row for each position (chapter 6)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib import _guards
from embeddings_lib.token_embedding import Table

LENGTH = "context_length is {rows}"
LONGER = "cut the text, or make the table larger"


class LearnedPositions(Table):
    """A learnable table of shape (context_length, embed_dim): position t has row t.

    >>> positions = LearnedPositions(context_length=8, embed_dim=3)
    >>> positions(torch.tensor([[5, 6, 7]])).shape  # any positions
    torch.Size([1, 3, 3])
    >>> positions.span(seq=2, offset=6).shape  # the positions 6 and 7
    torch.Size([2, 3])

    Equation: output[..., t, :] = weight[positions[..., t], :], with positions in
    tokens, from 0. Rows start normal, as in `Table`. The one entry of `state_dict` is
    `weight`, as in the `wpe` of GPT-2.

    Raises IndexError for a position at or beyond `context_length` or below 0, naming
    both numbers, TypeError for positions that are not int64 or int32, and ValueError
    for positions on another device, or a size below 1.

    Source: Radford et al. 2019; std 0.01 from the code released with it.
    """

    rows_are = "context_length"

    def __init__(
        self,
        context_length: int,
        embed_dim: int,
        *,
        std: float = 0.01,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        _guards.at_least(1, context_length=context_length, embed_dim=embed_dim)
        super().__init__(context_length, embed_dim, std=std, device=device, dtype=dtype)

    @_guards.explains_indices("positions", reason=LENGTH, remedy=LONGER)
    def forward(
        self, positions: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """Look up any positions: (*batch, seq) -> (*batch, seq, embed_dim)."""
        return F.embedding(positions, self.weight)

    def span(self, seq: int, offset: int = 0) -> Float[Tensor, "seq embed_dim"]:
        """The rows of the positions offset to offset + seq - 1, without a copy."""
        weight = self.weight
        _guards.span_within(seq, offset, rows=len(weight), reason=LENGTH, remedy=LONGER)
        return weight[offset : offset + seq]


def rows_at(
    table: nn.Module,
    seq: int,
    positions: Int[Tensor, "*batch seq"] | None = None,
    offset: int = 0,
) -> Float[Tensor, "*rows"]:
    """The rows of `seq` tokens in a table of positions, wherever the text stands.

    >>> table = LearnedPositions(context_length=8, embed_dim=3)
    >>> rows_at(table, seq=2, offset=6).shape
    torch.Size([2, 3])
    >>> rows_at(table, seq=2, positions=torch.tensor([[0, 1], [6, 7]])).shape
    torch.Size([2, 2, 3])

    The first token stands at `offset`, and each next one a token further; or
    `positions` names all places, (seq) for the whole batch or (*batch, seq).

    Raises ValueError for both at once, and as the table's `forward` and `span` do.
    """
    _guards.one_origin(positions, offset)
    return table.span(seq, offset) if positions is None else table(positions)
