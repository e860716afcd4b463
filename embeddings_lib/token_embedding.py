"""Token IDs become vectors, by a learnable table with one row per token (chapter 2)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib import _guards


class Table(nn.Module):
    """Rows of learnable numbers: what a table of tokens and one of positions share.

    >>> Table(rows=6, columns=3, std=0.02).weight.shape
    torch.Size([6, 3])

    Rows start as independent normal numbers of mean 0 and standard deviation `std`. The
    one entry of `state_dict` is `weight`, as in `nn.Embedding`.

    Raises ValueError for a std that is not 0 or more.
    """

    rows_are = "rows"

    def __init__(
        self,
        rows: int,
        columns: int,
        *,
        std: float,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        _guards.at_least(0, std=std)
        self.std = std
        weight = torch.empty(rows, columns, device=device, dtype=dtype)
        self.weight = nn.Parameter(weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every row anew."""
        nn.init.normal_(self.weight, std=self.std)

    def extra_repr(self) -> str:
        rows, columns = self.weight.shape
        return f"{self.rows_are}={rows}, embed_dim={columns}, std={self.std}"


class TokenEmbedding(Table):
    """A learnable table of shape (vocab_size, embed_dim): token ID i stands for row i.

    >>> table = TokenEmbedding(vocab_size=6, embed_dim=3)
    >>> table(torch.tensor([[2, 0, 2]])).shape
    torch.Size([1, 3, 3])

    Equation: output[..., t, :] = weight[token_ids[..., t], :]. Rows start normal, as in
    `Table`. With `sparse=True` the gradient holds only the rows that were looked up.
    IDs may be int64 or int32. The one entry of `state_dict` is `weight`, as in the
    `wte` of GPT-2.

    Raises IndexError for an ID outside the table, named with its place, TypeError for
    IDs that are not int64 or int32, and ValueError for IDs on another device, or a size
    below 1.

    Source: Bengio et al. 2003, section 2; std 0.02 from the code of Radford et al.
    2019.
    """

    rows_are = "vocab_size"

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
        _guards.at_least(1, vocab_size=vocab_size, embed_dim=embed_dim)
        super().__init__(vocab_size, embed_dim, std=std, device=device, dtype=dtype)
        self.sparse = sparse

    @_guards.explains_indices("token IDs", remedy=_guards.VOCABULARY)
    def forward(
        self, token_ids: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """Look up one row per token ID: (*batch, seq) -> (*batch, seq, embed_dim)."""
        return F.embedding(token_ids, self.weight, sparse=self.sparse)


def unembed(
    x: Float[Tensor, "*batch embed_dim"], head: nn.Module
) -> Float[Tensor, "*batch vocab_size"]:
    """Each vector, compared with every row of a head, which may be a token table.

    >>> table = TokenEmbedding(vocab_size=6, embed_dim=3)
    >>> unembed(torch.zeros(2, 3), table).shape
    torch.Size([2, 6])

    Equation: x weightᵀ. A head that is a layer of its own is called, so that its hooks
    run.

    Source: Press and Wolf 2017.
    """
    return head(x) if isinstance(head, nn.Linear) else F.linear(x, head.weight)


def next_token_losses(
    scores: Float[Tensor, "*batch read vocab_size"],
    token_ids: Int[Tensor, "*batch seq"],
) -> Float[Tensor, "*batch read"]:
    """How surprising each token is but the first, in nats, by the scores before it.

    >>> scores = torch.zeros(2, 4)  # after two tokens, each of four is as likely
    >>> next_token_losses(scores, torch.tensor([3, 0, 1])) / torch.tensor(4.0).log()
    tensor([1., 1.])

    Equation: -ln p of the token that came, with p the softmax of the scores.
    """
    came = token_ids[..., 1:].flatten().long()
    losses = F.cross_entropy(scores.flatten(0, -2), came, reduction="none")
    return losses.unflatten(0, scores.shape[:-1])
