"""What token tables and position tables share: a lookup that explains a wrong index."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def look_up(
    indices: Int[Tensor, "*batch seq"],
    weight: Float[Tensor, "rows embed_dim"],
    *,
    what: str,
    remedy: str,
    sparse: bool = False,
) -> Float[Tensor, "*batch seq embed_dim"]:
    """One row of `weight` for each index, or an error that says which index and where.

    >>> look_up(torch.tensor([2, 0]), torch.eye(3), what="rows", remedy="count them")
    tensor([[0., 0., 1.],
            [1., 0., 0.]])

    On a CPU the indices are read again only after PyTorch refused them. On a GPU they
    are read first, once a call, as there a wrong one would end the program's use of the
    GPU. Compiled code does not read them.

    Raises TypeError for indices that are not int64 or int32, ValueError for indices on
    another device, and IndexError for one outside the table.
    """
    return explained(
        lambda indices: F.embedding(indices, weight, sparse=sparse),
        indices,
        rows=weight.shape[0],
        device=weight.device,
        what=what,
        reason=f"the table has {weight.shape[0]} rows",
        remedy=remedy,
    )


def explained(
    look: Callable[[Tensor], Tensor],
    indices: Int[Tensor, "*batch seq"],
    *,
    rows: int,
    device: torch.device,
    what: str,
    reason: str,
    remedy: str,
    silent: bool = False,
) -> Tensor:
    """`look(indices)`, or the error of `look_up`, where `look` reads `rows` rows.

    >>> table = torch.tensor([5.0, 6.0])
    >>> words = {"what": "rows", "reason": "there are two", "remedy": "count them"}
    >>> place = {"rows": 2, "device": table.device}
    >>> explained(lambda i: table[i], torch.tensor([1]), **place, **words)
    tensor([6.])

    With `silent=True`, for a `look` that refuses no index, they are always read first.
    """
    if torch.compiler.is_compiling():
        return look(indices)
    elsewhere = isinstance(indices, Tensor) and indices.device != device
    if silent or elsewhere or _fails_late(indices):
        _check_kind(indices, device, what)
        _check_range(indices, rows, what, reason, remedy)
    try:
        return look(indices)
    except (IndexError, RuntimeError, TypeError):
        _check_kind(indices, device, what)
        _check_range(indices, rows, what, reason, remedy)
        raise


def _check_kind(indices: Tensor, device: torch.device, what: str) -> None:
    if not isinstance(indices, Tensor):
        raise TypeError(
            f"{what} must be a tensor, because rows are looked up on its device; got "
            f"{type(indices).__name__}: wrap it in torch.tensor(...)"
        )
    if indices.dtype not in (torch.int64, torch.int32):
        raise TypeError(
            f"{what} must be int64 or int32, because they are row numbers; got "
            f"{indices.dtype}: convert with .long()"
        )
    if indices.device != device:
        raise ValueError(
            f"{what} must be on the table's device, because a lookup copies nothing "
            f"between devices; got {what} on {indices.device} and a table on "
            f"{device}: move them with .to('{device}')"
        )


def _check_range(
    indices: Tensor, rows: int, what: str, reason: str, remedy: str
) -> None:
    outside = (indices < 0) | (indices >= rows)
    if outside.any():
        place = tuple(outside.nonzero()[0].tolist())
        raise IndexError(
            f"{what} must be 0 to {rows - 1}, because {reason}; got "
            f"{indices[place].item()} at index {place}: {remedy}"
        )


def _fails_late(indices: Tensor) -> bool:
    """Whether a wrong index would surface only later, as a dead GPU or silent zeros."""
    if not isinstance(indices, Tensor) or indices.device.type in ("cpu", "meta"):
        return False
    return not (indices.is_cuda and torch.cuda.is_current_stream_capturing())
