"""Token IDs become vectors, by a learnable table with one row per token (chapter 2)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib._guards import look_up


class TokenEmbedding(nn.Module):
    """A learnable table of shape (vocab_size, embed_dim): token ID i stands for row i.

    >>> table = TokenEmbedding(vocab_size=6, embed_dim=3)
    >>> table(torch.tensor([[2, 0, 2]])).shape
    torch.Size([1, 3, 3])

    Equation: output[..., t, :] = weight[token_ids[..., t], :]. Rows start as
    independent normal numbers of mean 0 and standard deviation `std`. With
    `sparse=True` the gradient holds only the rows that were looked up. IDs may be int64
    or int32. The one entry of `state_dict` is `weight`, as in `nn.Embedding` and in the
    `wte` of GPT-2.

    Raises as `look_up` does: an ID outside the table is named with its place.

    Source: Bengio et al. 2003, section 2; std 0.02 from the code of Radford et al.
    2019.
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        *,
        std: float = 0.02,
        sparse: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if vocab_size < 1 or embed_dim < 1:
            raise ValueError(
                "vocab_size and embed_dim must be at least 1, because the table needs "
                f"a row and a column; got {vocab_size} and {embed_dim}"
            )
        if not std >= 0:
            raise ValueError(
                f"std must be 0 or more, because it is a spread; got {std}"
            )
        self.std = std
        self.sparse = sparse
        self.weight = nn.Parameter(
            torch.empty(vocab_size, embed_dim, device=device, dtype=dtype)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every row anew."""
        nn.init.normal_(self.weight, std=self.std)

    def forward(
        self, token_ids: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """Look up one row per token ID: (*batch, seq) -> (*batch, seq, embed_dim)."""
        remedy = "was the text encoded with another vocabulary?"
        return look_up(
            token_ids, self.weight, what="token IDs", remedy=remedy, sparse=self.sparse
        )

    def extra_repr(self) -> str:
        vocab_size, embed_dim = self.weight.shape
        return f"vocab_size={vocab_size}, embed_dim={embed_dim}, std={self.std}"
