"""GPT-2's second table: one learned row for each position (chapter 5)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib._guards import look_up


class LearnedPositions(nn.Module):
    """A learnable table of shape (context_length, embed_dim): position t has row t.

    >>> positions = LearnedPositions(context_length=8, embed_dim=3)
    >>> positions(torch.tensor([[5, 6, 7]])).shape  # any positions
    torch.Size([1, 3, 3])
    >>> positions.span(seq=2, offset=6).shape  # the positions 6 and 7
    torch.Size([2, 3])

    Equation: output[..., t, :] = weight[positions[..., t], :], with positions in
    tokens, from 0. Rows start normal, with mean 0 and standard deviation `std`. The one
    entry of `state_dict` is `weight`, as in the `wpe` of GPT-2.

    Raises IndexError for a position at or beyond `context_length` or below 0, naming
    both numbers, and otherwise as `look_up` does.

    Source: Radford et al. 2019; std 0.01 from the code released with it.
    """

    def __init__(
        self,
        context_length: int,
        embed_dim: int,
        *,
        std: float = 0.01,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if context_length < 1 or embed_dim < 1:
            raise ValueError(
                "context_length and embed_dim must be at least 1, because the table "
                f"needs a row and a column; got {context_length} and {embed_dim}"
            )
        if not std >= 0:
            raise ValueError(
                f"std must be 0 or more, because it is a spread; got {std}"
            )
        self.std = std
        self.weight = nn.Parameter(
            torch.empty(context_length, embed_dim, device=device, dtype=dtype)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every row anew."""
        nn.init.normal_(self.weight, std=self.std)

    def forward(
        self, positions: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """Look up any positions: (*batch, seq) -> (*batch, seq, embed_dim)."""
        remedy = "the table ends at context_length, so cut the text or enlarge it"
        return look_up(positions, self.weight, what="positions", remedy=remedy)

    def span(self, seq: int, offset: int = 0) -> Float[Tensor, "seq embed_dim"]:
        """The rows of the positions offset to offset + seq - 1, without a copy."""
        weight = self.weight
        context_length = weight.shape[0]
        if seq < 0 or offset < 0 or offset + seq > context_length:
            raise IndexError(
                f"positions must be 0 to {context_length - 1}, because context_length "
                f"is {context_length}; got {seq} tokens from position {offset}: cut "
                "the text or make the table larger"
            )
        return weight[offset : offset + seq]

    def extra_repr(self) -> str:
        context_length, embed_dim = self.weight.shape
        sizes = f"context_length={context_length}, embed_dim={embed_dim}"
        return f"{sizes}, std={self.std}"
