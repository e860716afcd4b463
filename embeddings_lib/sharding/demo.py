"""What a table in pieces holds and sends, on as many ranks as torchrun starts."""

import argparse

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from embeddings_lib.sharding.ranks import connect
from embeddings_lib.sharding.sharded_embedding import CUTS, shard
from embeddings_lib.sharding.traffic import Traffic
from embeddings_lib.token_embedding import TokenEmbedding


def demo(mesh: DeviceMesh) -> list[dict]:
    """For each cut of a table of 1,000 x 64: what this rank holds and sends, in bytes.

    >>> from embeddings_lib.sharding import run_on_ranks
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
        "lookup": lookup.total_sent(ranks),
        "head": head.total_sent(ranks),
        "back": back.total_sent(ranks),
        "apart": (pieces.weight.grad.full_tensor() - table.weight.grad)
        .abs()
        .max()
        .item(),
    }


def main() -> None:
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
