"""What the ranks send each other, counted (chapter 15)."""

from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from embeddings_lib import _guards


class Traffic(TorchDispatchMode):
    """Notes each collective while it is on, with the bytes that this rank gives to it.

    >>> import torch
    >>> from embeddings_lib import TokenEmbedding
    >>> from embeddings_lib.sharding import run_on_ranks, shard
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

    def total_sent(self, ranks: int) -> float:
        """The bytes that one of `ranks` ranks must send, at the least."""
        return sum(bytes_sent(name, given, ranks) for name, given in self.given)


def bytes_sent(collective: str, given: int, ranks: int) -> float:
    """The bytes that each rank must send, if it gives `given` bytes to a collective.

    >>> bytes_sent("all_reduce", 1000, ranks=4)
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
    _guards.one_of(factors, collective=collective)
    return factors[collective] * given
