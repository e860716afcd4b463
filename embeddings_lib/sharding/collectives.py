"""What ranks do together, said to PyTorch's engine (chapter 15).

Each function says how a tensor lies on the ranks, and how it should lie: the engine
sends what it must, and sends the gradient the other way.
"""

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard


def redistribute(
    x: Tensor,
    ranks: DeviceMesh,
    before: Placement,
    after: Placement,
    gradient: Placement | None = None,
    **whole,
) -> Tensor:
    """This rank's part of x, moved from one way to lie on the ranks to another.

    >>> from embeddings_lib.sharding import run_on_ranks
    >>> def program(mesh):
    ...     part = torch.tensor([1.0 + mesh.get_local_rank()])
    ...     return redistribute(part, mesh, Partial(), Replicate()).item()
    >>> run_on_ranks(program, ranks=2)  # parts of a sum, and then the sum on each
    [3.0, 3.0]

    `gradient` says how the gradient of the result lies, where it is not as `after`.
    `whole` is the shape and stride of the whole, where the engine cannot guess them.
    """
    x = DTensor.from_local(x, ranks, [before], run_check=False, **whole)
    x = x.redistribute(placements=[after])
    return x.to_local(grad_placements=[gradient or after])


def all_reduce(x: Tensor, ranks: DeviceMesh) -> Tensor:
    """The sum over the ranks, on each of them.

    >>> from embeddings_lib.sharding import run_on_ranks
    >>> program = lambda mesh: all_reduce(torch.ones(1), mesh).item()
    >>> run_on_ranks(program, ranks=3)
    [3.0, 3.0, 3.0]
    """
    return redistribute(x, ranks, Partial(), Replicate())


def all_reduce_max(x: Tensor, ranks: DeviceMesh) -> Tensor:
    """The maximum over the ranks, on each of them.

    >>> from embeddings_lib.sharding import run_on_ranks
    >>> def program(mesh):
    ...     return all_reduce_max(torch.tensor(mesh.get_local_rank()), mesh).item()
    >>> run_on_ranks(program, ranks=2)
    [1, 1]
    """
    return redistribute(x, ranks, Partial("max"), Replicate())


def all_gather_columns(x: Tensor, ranks: DeviceMesh, columns: int) -> Tensor:
    """The columns of all ranks side by side, on each of them.

    >>> from embeddings_lib.sharding import run_on_ranks
    >>> def program(mesh):
    ...     mine = torch.tensor([[mesh.get_local_rank()]])
    ...     return all_gather_columns(mine, mesh, columns=2).tolist()
    >>> run_on_ranks(program, ranks=2)
    [[[0, 1]], [[0, 1]]]
    """
    shape = torch.Size([*x.shape[:-1], columns])
    stride = torch.empty(shape, device="meta").stride()
    cut = Shard(x.ndim - 1)
    return redistribute(x, ranks, cut, Replicate(), shape=shape, stride=stride)


def split_columns(x: Tensor, ranks: DeviceMesh) -> Tensor:
    """This rank's columns of an x that all ranks have.

    >>> from embeddings_lib.sharding import run_on_ranks
    >>> program = lambda mesh: split_columns(torch.tensor([[5, 6]]), mesh).tolist()
    >>> run_on_ranks(program, ranks=2)
    [[[5]], [[6]]]
    """
    return redistribute(x, ranks, Replicate(), Shard(x.ndim - 1))


def replicate(x: Tensor, ranks: DeviceMesh) -> Tensor:
    """An x that all ranks have, whose gradient is the sum of what each rank has of it.

    >>> from embeddings_lib.sharding import run_on_ranks
    >>> def program(mesh):
    ...     x = torch.ones(1, requires_grad=True)
    ...     replicate(x, mesh).sum().backward()
    ...     return x.grad.item()
    >>> run_on_ranks(program, ranks=2)
    [2.0, 2.0]
    """
    return redistribute(x, ranks, Replicate(), Replicate(), gradient=Partial())
