"""A token table in pieces, one on each rank, with PyTorch's own engine (chapter 11).

`torchrun --nproc-per-node 4 -m embeddings_lib.sharding --demo` cuts a small table, and
prints what each rank holds and sends.
"""

import argparse
import logging
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import cloudpickle
import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import (
    DTensor,
    Partial,
    Placement,
    Replicate,
    Shard,
    distribute_tensor,
)
from torch.multiprocessing.spawn import ProcessException
from torch.utils._python_dispatch import TorchDispatchMode

from embeddings_lib.combined import InputEmbedding
from embeddings_lib.lookup import explained
from embeddings_lib.token_table import TokenEmbedding

CUTS = {"rows": 0, "columns": 1}


def shard(
    layer: TokenEmbedding | InputEmbedding, mesh: DeviceMesh, *, cut: str = "rows"
) -> nn.Module:
    """The same layer, with its token table in pieces on the ranks of `mesh`.

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


class Traffic(TorchDispatchMode):
    """Notes each collective while it is on, with the bytes that this rank gives to it.

    >>> def program(mesh):
    ...     table = shard(TokenEmbedding(6, 4), mesh, cut="rows")
    ...     with Traffic() as traffic:
    ...         table(torch.tensor([5, 0, 5]))
    ...     return traffic.given
    >>> run_on_ranks(program, ranks=2)[0]  # three vectors of four float32 numbers
    [('all_reduce', 48)]
    """

    def __init__(self):
        super().__init__()
        self.given: list[tuple[str, int]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if DTensor in types:
            return NotImplemented  # first what it does with the plain tensors inside
        name = function._overloadpacket.__name__
        moves = name not in ("wait_tensor", "_wrap_tensor_autograd")
        if function.namespace == "_c10d_functional" and moves:
            self.given.append((name, args[0].nbytes))
        return function(*args, **(kwargs or {}))

    def sent(self, ranks: int) -> float:
        """The bytes that one of `ranks` ranks must send, at the least: see `sent`."""
        return sum(sent(name, given, ranks) for name, given in self.given)


def sent(collective: str, given: int, ranks: int) -> float:
    """The bytes that each rank must send, if it gives `given` bytes to a collective.

    >>> sent("all_reduce", 1000, ranks=4)
    1500.0

    Equation, with S bytes given on each of N ranks: all_reduce 2 S (N - 1) / N,
    reduce_scatter_tensor S (N - 1) / N, all_gather_into_tensor S (N - 1).

    Raises ValueError for another collective.

    Source: the bus bandwidth of nccl-tests, doc/PERFORMANCE.md.
    """
    factors = {
        "all_reduce": 2 * (ranks - 1) / ranks,
        "reduce_scatter_tensor": (ranks - 1) / ranks,
        "all_gather_into_tensor": float(ranks - 1),
    }
    if collective not in factors:
        raise ValueError(
            "collective must be one whose bytes are known, because each sends other "
            f"parts; got {collective!r}: take one of {', '.join(factors)}"
        )
    return factors[collective] * given


def connect(*, timeout: float = 60.0) -> DeviceMesh:
    """Meet the other ranks that torchrun started: a mesh of all of them, in one line.

    >>> connect()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    RuntimeError: connect needs the addresses of the other ranks, because ...

    Over NCCL with a GPU for each rank of this machine, else over gloo on the CPU. A
    rank that waits `timeout` seconds for another one gives up with an error.

    Raises RuntimeError where nobody set RANK and its kin.
    """
    if "RANK" not in os.environ:
        raise RuntimeError(
            "connect needs the addresses of the other ranks, because they work "
            "together; RANK is not set: start the program with torchrun"
        )
    gpus = torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return _meet("cuda" if gpus else "cpu", timeout)


def _meet(device: str, timeout: float, **place) -> DeviceMesh:
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout), **place)
    return init_device_mesh(device, (dist.get_world_size(),), mesh_dim_names=("table",))


def run_on_ranks(
    program: Callable[[DeviceMesh], object], ranks: int, *, timeout: float = 60.0
) -> list:
    """What `program(mesh)` returns on each of `ranks` new processes of this machine.

    >>> run_on_ranks(lambda mesh: mesh.get_local_rank(), ranks=2)
    [0, 1]

    For learning and tests: over gloo on the CPU, with one thread each. The program may
    be written in a notebook: it is sent with the variables that it reads. What it
    prints is lost, so let it return what you want to see. The mesh is a line of all
    ranks, as that of `connect`.

    Raises ValueError for fewer than one rank, RuntimeError where a rank fails, and
    TimeoutError after `timeout` seconds. No rank outlives the call.
    """
    if ranks < 1:
        raise ValueError(
            f"ranks must be at least 1, because they do the work; got {ranks}"
        )
    # That the other ranks of a failed one are ended is no news.
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    # Linux can copy a process that has imported PyTorch, which saves seconds.
    method = "forkserver" if sys.platform == "linux" else "spawn"
    multiprocessing.set_forkserver_preload(
        ["torch.distributed.tensor", "torch.distributed.checkpoint", "torch._dynamo"]
    )
    with tempfile.TemporaryDirectory(prefix="ranks") as name:
        folder = Path(name)
        (folder / "program").write_bytes(cloudpickle.dumps(program))
        processes = torch.multiprocessing.start_processes(
            _rank,
            (ranks, folder, timeout),
            nprocs=ranks,
            join=False,
            start_method=method,
        )
        try:
            _wait(processes, timeout)
        except ProcessException as error:
            raise RuntimeError(
                "every rank must end well, because each has a part of the table; rank "
                f"{error.error_index} did not: {error}"
            ) from error
        finally:
            for process in processes.processes:
                process.kill()
                process.join()
        return [pickle.loads((folder / str(i)).read_bytes()) for i in range(ranks)]


def _wait(processes: torch.multiprocessing.ProcessContext, timeout: float) -> None:
    end = time.monotonic() + timeout
    while not processes.join(timeout=max(0, end - time.monotonic())):
        if time.monotonic() > end:
            raise TimeoutError(
                f"all ranks must end within {timeout} seconds, because none may wait "
                "for ever; at least one runs still: does each of them take part in "
                "every lookup? Or give more time"
            )


def _rank(rank: int, ranks: int, folder: Path, timeout: float) -> None:
    """One process: meet the others through a file, run the program, keep the result."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), ranks)
    mesh = _meet("cpu", timeout, store=store, rank=rank, world_size=ranks)
    # A rank that is done and leaves would cut off one that is still connecting.
    store.set(f"met {rank}", "")
    store.wait([f"met {one}" for one in range(ranks)], timedelta(seconds=timeout))
    program = pickle.loads((folder / "program").read_bytes())
    (folder / str(rank)).write_bytes(pickle.dumps(program(mesh)))
    os._exit(0)  # at once: taking the connections down may hang in PyTorch 2.6


def demo(mesh: DeviceMesh) -> list[dict]:
    """For each cut of a table of 1,000 x 64: what this rank holds and sends, in bytes.

    >>> for row in run_on_ranks(demo, ranks=2)[0]:
    ...     print(row["cut"], row["held"], row["lookup"], row["apart"] < 1e-5)
    rows 128000 32768.0 True
    columns 128000 16384.0 True

    One step of training with 128 tokens and a tied head: `held` for the piece, and sent
    for the `lookup`, the `head` and its loss, and the way `back`. `apart` is how far
    the gradient is from that of one process with the whole table, at the most.
    """
    torch.manual_seed(0)
    table = TokenEmbedding(1000, 64, device=mesh.device_type)
    ids, targets = torch.randint(1000, (2, 4, 32), device=mesh.device_type)
    scores = table(ids) @ table.weight.T
    F.cross_entropy(scores.flatten(0, 1), targets.flatten()).backward()
    return [_demo_row(table, mesh, cut, ids, targets) for cut in CUTS]


def _demo_row(
    table: TokenEmbedding, mesh: DeviceMesh, cut: str, ids: Tensor, targets: Tensor
) -> dict:
    pieces = shard(table, mesh, cut=cut)
    with Traffic() as lookup:
        x = pieces(ids)
    with Traffic() as head:
        loss = pieces.losses(x, targets).mean()
    with Traffic() as back:
        loss.backward()
    ranks = mesh.size()
    return {
        "cut": cut,
        "ranks": ranks,
        "held": pieces.piece().nbytes,
        "lookup": lookup.sent(ranks),
        "head": head.sent(ranks),
        "back": back.sent(ranks),
        "apart": (pieces.weight.grad.full_tensor() - table.weight.grad)
        .abs()
        .max()
        .item(),
    }


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="torchrun --nproc-per-node N -m embeddings_lib.sharding",
        description="Cut a table of 1,000 x 64 in N pieces, and train one step.",
    )
    parser.add_argument("--demo", action="store_true", help="do so (the default)")
    parser.parse_args()
    rows = demo(connect())
    if dist.get_rank() == 0:
        print(f"{'cut':8}{'ranks':>6}{'held':>9}{'lookup':>9}{'head':>9}{'back':>9}")
        for row in rows:
            cut, ranks, *numbers, _ = row.values()
            print(f"{cut:8}{ranks:>6}" + "".join(f"{n:>9,.0f}" for n in numbers))
        print("bytes on each rank: held, and sent in one step of 128 tokens")
    dist.destroy_process_group()


if __name__ == "__main__":
    _main()
