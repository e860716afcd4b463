"""A token table in pieces, one on each rank, with PyTorch's own engine (chapter 11)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import (
    DTensor,
    Partial,
    Placement,
    Replicate,
    Shard,
    distribute_tensor,
)

from embeddings_lib._guards import explained
from embeddings_lib.input_embedding import InputEmbedding
from embeddings_lib.token_embedding import TokenEmbedding

CUTS = {"rows": 0, "columns": 1}


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

    A `TokenEmbedding` becomes a `ShardedEmbedding`. An `InputEmbedding` is changed in
    place: its positions stay whole on each rank, as ordinary parameters, and must start
    equal. Where copies read other IDs, their gradients are yours to add up.

    Raises as `ShardedEmbedding` does.
    """
    if isinstance(layer, InputEmbedding):
        layer.token_table = ShardedEmbedding(layer.token_table, mesh, cut=cut)
        return layer
    return ShardedEmbedding(layer, mesh, cut=cut)


class ShardedEmbedding(nn.Module):
    """A token table of which each rank of `mesh` holds one piece.

    >>> from embeddings_lib.sharding import run_on_ranks
    >>> def program(mesh):
    ...     table = ShardedEmbedding(TokenEmbedding(6, 4), mesh, cut="rows")
    ...     x = table(torch.tensor([[5, 0, 5]]))
    ...     return tuple(table.piece().shape), tuple(x.shape)
    >>> run_on_ranks(program, ranks=2)
    [((3, 4), (1, 3, 4)), ((3, 4), (1, 3, 4))]

    Equation: output[..., t, :] = weight[token_ids[..., t], :], as in `TokenEmbedding`,
    and whole on each rank. With `cut="rows"`, rank r of N holds ceil(vocab_size / N)
    rows, or what is left of them, from r · ceil(vocab_size / N) on. It looks up what it
    has and puts zeros for the rest, and the ranks add up. With `cut="columns"` it looks
    up its columns of every row, and the ranks lay them side by side. The gradient is as
    large as the piece.

    The numbers are those of rank 0. But a table on the device "meta" is drawn anew,
    piece by piece, and is never whole: by `torch.manual_seed`, the same on all ranks.
    Of a mesh with several dimensions, which then have names, the last one cuts, and all
    its ranks look up the same IDs. Along the others the pieces are copies, which may
    look up other IDs: their gradients are added up.

    Raises ValueError for an unknown cut, a sparse table, and a mesh without names or
    with a rank that gets no piece; and as `TokenEmbedding` does, on all ranks at once.

    Source: Shoeybi et al. 2019, section 3, for the rows.
    """

    def __init__(self, table: TokenEmbedding, mesh: DeviceMesh, *, cut: str = "rows"):
        super().__init__()
        _check(table, mesh, cut)
        self.cut = cut
        self.std = table.std
        self.ranks = mesh[mesh.mesh_dim_names[-1]] if mesh.ndim > 1 else mesh
        placements = [Replicate()] * (mesh.ndim - 1) + [Shard(CUTS[cut])]
        weight = distribute_tensor(table.weight.detach(), mesh, placements)
        self.weight = nn.Parameter(_draw(weight, self) if weight.is_meta else weight)
        # The copies' gradients are added up once, however often the table was used.
        self.weight.register_hook(lambda grad: grad.redistribute(placements=placements))
        self.weight.requires_grad_(table.weight.requires_grad)
        self.vocab_size, self.embed_dim = weight.shape

    def piece(self) -> Float[Tensor, "rows columns"]:
        """What this rank holds, as a plain tensor."""
        copies = [Partial() if p == Replicate() else p for p in self.weight.placements]
        return self.weight.to_local(grad_placements=copies)

    def forward(
        self, token_ids: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """Look up one row per token ID: (*batch, seq) -> (*batch, seq, embed_dim)."""
        look_up = self._from_rows if self.cut == "rows" else self._from_columns
        x = self._explained(look_up, token_ids, "token IDs")
        return x.clone()  # `InputEmbedding` writes into it, and may not into a view

    def _from_rows(self, token_ids: Tensor) -> Tensor:
        rows, elsewhere = self._own(token_ids)
        x = F.embedding(rows, self.piece()).masked_fill(elsewhere.unsqueeze(-1), 0)
        return _add_up(x, self.ranks)

    def _from_columns(self, token_ids: Tensor) -> Tensor:
        x = F.embedding(token_ids, self.piece())
        return _side_by_side(x, self.ranks, self.embed_dim)

    def losses(
        self,
        hidden: Float[Tensor, "*batch seq embed_dim"],
        targets: Int[Tensor, "*batch seq"],
    ) -> Float[Tensor, "*batch seq"]:
        """How surprising each target is, in nats, with the table as the tied head.

        Equation: log Σ_i exp(s_i) - s_target, with s_i = weight[i] · hidden. Cut by
        rows, no rank sees the scores of the others: their maximum and two sums go
        around. Cut by columns, all scores do.

        Source: Shoeybi et al. 2019, section 3.
        """
        losses = self._rows_losses if self.cut == "rows" else self._columns_losses
        return self._explained(lambda ids: losses(hidden, ids), targets, "targets")

    def _rows_losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        scores = _wide(F.linear(_for_all(hidden, self.ranks), self.piece()))
        top = _largest(scores.detach().amax(dim=-1), self.ranks)
        scores = scores - top.unsqueeze(-1)  # so that exp cannot overflow
        rows, elsewhere = self._own(targets)
        target = scores.gather(-1, rows.long().unsqueeze(-1)).squeeze(-1)
        sums = torch.stack([scores.exp().sum(-1), target.masked_fill(elsewhere, 0)])
        total, target = _add_up(sums, self.ranks)
        return total.log() - target

    def _columns_losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        parts = F.linear(_split(hidden, self.ranks), self.piece())
        scores = _wide(_add_up(parts, self.ranks)).flatten(0, -2)
        losses = F.cross_entropy(scores, targets.flatten().long(), reduction="none")
        return losses.unflatten(0, targets.shape)

    def _own(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Each ID's row in this rank's piece, and a mask of those that have none."""
        most = -(-self.vocab_size // self.ranks.size())
        rows = token_ids - self.ranks.get_local_rank() * most
        elsewhere = (rows < 0) | (rows >= self.weight.to_local().shape[0])
        return rows.masked_fill(elsewhere, 0), elsewhere

    def _explained(
        self, look: Callable[[Tensor], Tensor], token_ids: Tensor, what: str
    ) -> Tensor:
        """An ID outside the table is masked on every rank, so look before."""
        return explained(
            look,
            token_ids,
            rows=self.vocab_size,
            device=self.weight.device,
            what=what,
            reason=f"the table has {self.vocab_size} rows",
            remedy="was the text encoded with another vocabulary?",
            silent=True,
        )

    def extra_repr(self) -> str:
        return (
            f"vocab_size={self.vocab_size}, embed_dim={self.embed_dim}, "
            f"std={self.std}, cut={self.cut!r}, ranks={self.ranks.size()}"
        )


def _move(
    x: Tensor,
    ranks: DeviceMesh,
    before: Placement,
    after: Placement,
    back: Placement | None = None,
    **whole,
) -> Tensor:
    """Say how x lies on the ranks, and how it shall: the engine moves what it must.

    `back` says how the gradient of the result lies, where it is not as `after`.
    """
    x = DTensor.from_local(x, ranks, [before], run_check=False, **whole)
    return x.redistribute(placements=[after]).to_local(grad_placements=[back or after])


def _add_up(x: Tensor, ranks: DeviceMesh) -> Tensor:
    """The sum over the ranks, on each of them."""
    return _move(x, ranks, Partial(), Replicate())


def _largest(x: Tensor, ranks: DeviceMesh) -> Tensor:
    """The maximum over the ranks, on each of them."""
    return _move(x, ranks, Partial("max"), Replicate())


def _side_by_side(x: Tensor, ranks: DeviceMesh, columns: int) -> Tensor:
    """All columns, on each rank."""
    shape = torch.Size([*x.shape[:-1], columns])
    stride = torch.empty(shape, device="meta").stride()
    return _move(x, ranks, Shard(x.ndim - 1), Replicate(), shape=shape, stride=stride)


def _split(x: Tensor, ranks: DeviceMesh) -> Tensor:
    """This rank's columns of an x that all ranks have."""
    return _move(x, ranks, Replicate(), Shard(x.ndim - 1))


def _for_all(x: Tensor, ranks: DeviceMesh) -> Tensor:
    """An x that all ranks have, of which each rank's gradient is only a part."""
    return _move(x, ranks, Replicate(), Replicate(), back=Partial())


def _wide(x: Tensor) -> Tensor:
    """With at least 32 bits, for a sum over the vocabulary."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _draw(weight: DTensor, table: ShardedEmbedding) -> DTensor:
    """A weight without numbers, with normal ones: each rank draws its own piece."""
    rank = table.ranks.get_local_rank()
    device = weight.device_mesh.device_type
    generator = torch.Generator(device).manual_seed(torch.initial_seed() + rank)
    piece = torch.empty_like(weight.to_local(), device=device)
    return DTensor.from_local(
        piece.normal_(std=table.std, generator=generator),
        weight.device_mesh,
        weight.placements,
        run_check=False,
        shape=weight.shape,
        stride=weight.stride(),
    )


def _check(table: TokenEmbedding, mesh: DeviceMesh, cut: str) -> None:
    if cut not in CUTS:
        raise ValueError(
            "cut must be 'rows' or 'columns', because a table has these two sides; "
            f"got {cut!r}"
        )
    if table.sparse:
        raise ValueError(
            "a table in pieces must have sparse=False, because PyTorch's distributed "
            "tensors hold no sparse gradients; got sparse=True"
        )
    if mesh.ndim > 1 and mesh.mesh_dim_names is None:
        raise ValueError(
            "a mesh of several dimensions must have names, because the last one is "
            f"taken by its name; got the shape {tuple(mesh.shape)}: give mesh_dim_names"
        )
    size, ranks = table.weight.shape[CUTS[cut]], mesh.size(mesh.ndim - 1)
    most = -(-size // ranks)
    if (ranks - 1) * most >= size:
        raise ValueError(
            f"each rank must get at least one of the {cut}, because it has a part in "
            f"every lookup; got {size} {cut} for {ranks} ranks, in pieces of {most}: "
            "take fewer ranks, or cut the other side"
        )
