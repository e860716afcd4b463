"""Token IDs become vectors, by a learnable table with one row per token (chapter 2)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


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

    Raises TypeError for IDs that are not integers, ValueError for IDs on another
    device, and IndexError for an ID outside the table, naming the ID and its place.
    Compiled code does not read the IDs. On a GPU the check waits until they are
    computed, once a call.

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
        if torch.compiler.is_compiling():
            return F.embedding(token_ids, self.weight, sparse=self.sparse)
        _check_kind(token_ids, self.weight)
        if _fails_late(token_ids):
            _check_range(token_ids, self.weight)
        try:
            return F.embedding(token_ids, self.weight, sparse=self.sparse)
        except IndexError:
            _check_range(token_ids, self.weight)
            raise

    def extra_repr(self) -> str:
        vocab_size, embed_dim = self.weight.shape
        return f"vocab_size={vocab_size}, embed_dim={embed_dim}, std={self.std}"


def _check_kind(token_ids: Tensor, weight: Tensor) -> None:
    if not isinstance(token_ids, Tensor):
        raise TypeError(
            "token_ids must be a tensor, because rows are looked up on its device; got "
            f"{type(token_ids).__name__}: wrap it in torch.tensor(...)"
        )
    if token_ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(
            "token_ids must be int64 or int32, because an ID is a row number; got "
            f"{token_ids.dtype}: convert with .long()"
        )
    if token_ids.device != weight.device:
        raise ValueError(
            "token_ids must be on the table's device, because a lookup copies nothing "
            f"between devices; got IDs on {token_ids.device} and a table on "
            f"{weight.device}: move the IDs with .to('{weight.device}')"
        )


def _check_range(token_ids: Tensor, weight: Tensor) -> None:
    vocab_size = weight.shape[0]
    outside = (token_ids < 0) | (token_ids >= vocab_size)
    if outside.any():
        place = tuple(outside.nonzero()[0].tolist())
        raise IndexError(
            f"token IDs must be 0 to {vocab_size - 1}, because the table has "
            f"{vocab_size} rows; got ID {token_ids[place].item()} at index {place}: "
            "was the text encoded with another vocabulary?"
        )


def _fails_late(token_ids: Tensor) -> bool:
    """Whether a wrong ID would surface only later, as a dead GPU or as silent zeros.

    A CPU lookup raises by itself, so there the range is read only to explain the error.
    """
    if token_ids.device.type in ("cpu", "meta"):
        return False
    return not (token_ids.is_cuda and torch.cuda.is_current_stream_capturing())
