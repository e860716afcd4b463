"""A token table in pieces, one on each rank, with PyTorch's own engine (chapter 15)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import (
    DTensor,
    Partial,
    Replicate,
    Shard,
    distribute_tensor,
)

from embeddings_lib import _guards
from embeddings_lib.attention import wide
from embeddings_lib.input_embedding import InputEmbedding
from embeddings_lib.sharding.collectives import (
    all_gather_columns,
    all_reduce,
    all_reduce_max,
    replicate,
    split_columns,
)
from embeddings_lib.token_embedding import TokenEmbedding


def shard(
    layer: TokenEmbedding | InputEmbedding, mesh: DeviceMesh, *, cut: str = "rows"
) -> nn.Module:
    """The same layer, with its token table in pieces on the ranks of `mesh`.

    >>> from embeddings_lib.sharding import run_on_ranks
    >>> def program(mesh):
    ...     layer = shard(InputEmbedding(TokenEmbedding(6, 4)), mesh, cut="columns")
    ...     return tuple(layer.token_table.piece().shape)
    >>> run_on_ranks(program, ranks=2)
    [(6, 2), (6, 2)]

    A `TokenEmbedding` becomes a `RowShardedEmbedding` or a `ColumnShardedEmbedding`. An
    `InputEmbedding` is changed in place: its positions stay whole on each rank, as
    ordinary parameters, and must start equal. Where copies read other IDs, add up the
    gradients of the positions yourself.

    Raises ValueError for an unknown cut, a sparse table, and a mesh without names or
    with a rank that gets no piece.
    """
    _guards.one_of(CUTS, cut=cut)
    if isinstance(layer, InputEmbedding):
        layer.token_table = CUTS[cut](layer.token_table, mesh)
        return layer
    return CUTS[cut](layer, mesh)


class ShardedEmbedding(nn.Module):
    """A token table of which each rank of `mesh` holds one piece: what both cuts share.

    >>> from embeddings_lib.sharding import run_on_ranks
    >>> def program(mesh):
    ...     return tuple(RowShardedEmbedding(TokenEmbedding(6, 4), mesh).piece().shape)
    >>> run_on_ranks(program, ranks=2)
    [(3, 4), (3, 4)]

    The numbers are those of rank 0. But a table on the device "meta" is drawn anew,
    piece by piece, and is never whole: by `torch.manual_seed`, the same on all ranks.
    Of a mesh with several dimensions, which then have names, the last one cuts, and all
    its ranks look up the same IDs. Along the others the pieces are copies, which may
    look up other IDs: their gradients are added up. A piece's gradient is as large as
    the piece.

    Raises ValueError for a sparse table, and a mesh without names or with a rank that
    gets no piece.
    """

    side: int  # 0 where the rows are cut, 1 where the columns are

    def __init__(self, table: TokenEmbedding, mesh: DeviceMesh):
        super().__init__()
        _guards.pieces(table, mesh, self.side)
        self.std = table.std
        self.vocab_size, self.embed_dim = table.weight.shape
        self.ranks = mesh[mesh.mesh_dim_names[-1]] if mesh.ndim > 1 else mesh
        placements = [Replicate()] * (mesh.ndim - 1) + [Shard(self.side)]
        weight = distribute_tensor(table.weight.detach(), mesh, placements)
        if weight.is_meta:
            weight = torch.empty_like(weight, device=mesh.device_type)
            self._draw(weight)
        self.weight = nn.Parameter(weight)
        # The copies' gradients are added up once, however often the table was used.
        self.weight.register_hook(lambda grad: grad.redistribute(placements=placements))
        self.weight.requires_grad_(table.weight.requires_grad)

    def piece(self) -> Float[Tensor, "rows columns"]:
        """What this rank holds, as a plain tensor."""
        copies = [Partial() if p == Replicate() else p for p in self.weight.placements]
        return self.weight.to_local(grad_placements=copies)

    def reset_parameters(self) -> None:
        """Draw every row anew: each rank draws its own piece."""
        self._draw(self.weight.detach())

    def _draw(self, weight: DTensor) -> None:
        rank, piece = self.ranks.get_local_rank(), weight.to_local()
        generator = torch.Generator(piece.device)
        generator.manual_seed(torch.initial_seed() + rank)
        piece.normal_(std=self.std, generator=generator)

    def extra_repr(self) -> str:
        return (
            f"vocab_size={self.vocab_size}, embed_dim={self.embed_dim}, "
            f"std={self.std}, ranks={self.ranks.size()}"
        )


class RowShardedEmbedding(ShardedEmbedding):
    """A token table cut by rows: each rank knows some of the tokens.

    >>> from embeddings_lib.sharding import run_on_ranks
    >>> def program(mesh):
    ...     table = RowShardedEmbedding(TokenEmbedding(6, 4), mesh)
    ...     return tuple(table(torch.tensor([[5, 0, 5]])).shape)
    >>> run_on_ranks(program, ranks=2)
    [(1, 3, 4), (1, 3, 4)]

    Equation: output[..., t, :] = weight[token_ids[..., t], :], as in `TokenEmbedding`,
    and whole on each rank. Rank r of N holds ceil(vocab_size / N) rows, or what is left
    of them, from r · ceil(vocab_size / N) on. It looks up what it has and puts zeros
    for the rest, and the ranks add up.

    Raises IndexError for an ID outside the table, on all ranks at once, and as
    `ShardedEmbedding` does.

    Source: Shoeybi et al. 2019, section 3.
    """

    side = 0

    def forward(
        self, token_ids: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """Look up one row per token ID: (*batch, seq) -> (*batch, seq, embed_dim)."""
        _guards.known_ids(token_ids, self.vocab_size, self.weight.device)
        rows, elsewhere = self._rows_here(token_ids)
        x = F.embedding(rows, self.piece()).masked_fill(elsewhere.unsqueeze(-1), 0)
        return all_reduce(x, self.ranks)

    def losses(
        self,
        hidden: Float[Tensor, "*batch seq embed_dim"],
        targets: Int[Tensor, "*batch seq"],
    ) -> Float[Tensor, "*batch seq"]:
        """How surprising each target is, in nats, with the table as the tied head.

        Equation: log Σ_i exp(s_i) - s_target, with s_i = weight[i] · hidden. No rank
        sees the scores of the others: their maximum and two sums go around.

        Source: Shoeybi et al. 2019, section 3.
        """
        _guards.known_ids(targets, self.vocab_size, self.weight.device, "targets")
        scores = wide(F.linear(replicate(hidden, self.ranks), self.piece()))
        top = all_reduce_max(scores.detach().amax(dim=-1), self.ranks)
        scores = scores - top.unsqueeze(-1)  # so that exp cannot overflow
        rows, elsewhere = self._rows_here(targets)
        target = scores.gather(-1, rows.long().unsqueeze(-1)).squeeze(-1)
        sums = torch.stack([scores.exp().sum(-1), target.masked_fill(elsewhere, 0)])
        total, target = all_reduce(sums, self.ranks)
        return total.log() - target

    def _rows_here(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Each ID's row in this rank's piece, and a mask of those that have none."""
        most = -(-self.vocab_size // self.ranks.size())
        rows = token_ids - self.ranks.get_local_rank() * most
        elsewhere = (rows < 0) | (rows >= self.weight.to_local().shape[0])
        return rows.masked_fill(elsewhere, 0), elsewhere


class ColumnShardedEmbedding(ShardedEmbedding):
    """A token table cut by columns: each rank knows a part of every token.

    >>> from embeddings_lib.sharding import run_on_ranks
    >>> def program(mesh):
    ...     table = ColumnShardedEmbedding(TokenEmbedding(6, 4), mesh)
    ...     return tuple(table(torch.tensor([[5, 0, 5]])).shape)
    >>> run_on_ranks(program, ranks=2)
    [(1, 3, 4), (1, 3, 4)]

    Equation: as in `RowShardedEmbedding`. Each rank looks up its columns of every row,
    and the ranks lay them side by side.

    Raises IndexError for an ID outside the table, on all ranks at once, and as
    `ShardedEmbedding` does.
    """

    side = 1

    def forward(
        self, token_ids: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """Look up one row per token ID: (*batch, seq) -> (*batch, seq, embed_dim)."""
        _guards.known_ids(token_ids, self.vocab_size, self.weight.device)
        x = F.embedding(token_ids, self.piece())
        return all_gather_columns(x, self.ranks, self.embed_dim)

    def losses(
        self,
        hidden: Float[Tensor, "*batch seq embed_dim"],
        targets: Int[Tensor, "*batch seq"],
    ) -> Float[Tensor, "*batch seq"]:
        """How surprising each target is, in nats, with the table as the tied head.

        Equation: as in `RowShardedEmbedding`. Each rank has a part of every score, and
        all scores go around.
        """
        _guards.known_ids(targets, self.vocab_size, self.weight.device, "targets")
        parts = F.linear(split_columns(hidden, self.ranks), self.piece())
        scores = wide(all_reduce(parts, self.ranks)).flatten(0, -2)
        losses = F.cross_entropy(scores, targets.flatten().long(), reduction="none")
        return losses.unflatten(0, targets.shape)


CUTS = {"rows": RowShardedEmbedding, "columns": ColumnShardedEmbedding}
