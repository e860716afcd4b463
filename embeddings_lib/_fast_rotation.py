"""`rotate_by`, faster, outside of compiled code: for whoever wants to know how.

The equation costs four products, two sums and a copy, each of which reads and writes
the whole tensor. Memory, not arithmetic, is what takes the time. So:

- In the layout "pairs", a pair that lies side by side *is* a complex number, and one
  complex product turns it, in one pass, or in place.
- In the layout "halves", one product and two fused multiply-adds do, in three passes.
- On a CPU, three passes over a slab that stays in its cache cost hardly more than one.
- 16 bits become 32 in such slabs, so that no whole copy in 32 bits is ever made.
- The gradient of a turn is the turn back. For "halves" saying so saves what PyTorch
  would keep for each of the three passes.
"""

import math

import torch
from torch import Tensor

LARGE = 2**19  # numbers from which slabs pay
SLAB = 2**18  # numbers in a slab: 1 MB of float32


def rotate_fast(
    parts: tuple[Tensor, ...], points: Tensor, layout: str, inplace: bool
) -> tuple[Tensor, ...]:
    """Queries and keys, turned by the points of `ExactAngles`: (..., seq, 1, n)."""
    if parts[0].dtype == torch.float64:
        points = points.double()
    if layout == "pairs":
        turns = points.view(points.dtype.to_complex())
        return tuple(_rotate_pairs(x, turns, inplace) for x in parts)
    cos, sin = points[..., 0::2], points[..., 1::2].contiguous()
    cos = torch.cat([cos, cos], dim=-1)
    return tuple(_rotate_halves(x, cos, sin, inplace) for x in parts)


def _rotate_pairs(x: Tensor, turns: Tensor, inplace: bool) -> Tensor:
    in_one_pass = x.dtype.itemsize > 2
    if in_one_pass or _is_training(x):
        return _pairs_at_once(x, turns, inplace=inplace)
    return _by_slabs(_pairs_at_once, x, (turns,), inplace)


def _rotate_halves(x: Tensor, cos: Tensor, sin: Tensor, inplace: bool) -> Tensor:
    if _is_training(x):
        return _Halves.apply(x, cos, sin)
    return _by_slabs(_halves_at_once, x, (cos, sin), inplace)


def _is_training(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def _by_slabs(kernel, x: Tensor, parts: tuple[Tensor, ...], inplace: bool) -> Tensor:
    """`kernel(x, *parts)`, so that on a CPU intermediates stay in its cache."""
    if x.numel() < LARGE or x.device.type != "cpu":
        return kernel(x, *parts, inplace=inplace)
    rows = max(1, SLAB * x.shape[-3] // x.numel())
    out = x if inplace else torch.empty_like(x)
    slabs = [whole.split(rows, dim=-3) for whole in (out, x, *parts)]
    for target, source, *angles in zip(*slabs, strict=True):
        target.copy_(kernel(source, *angles))
    return out


def _pairs_at_once(x: Tensor, turns: Tensor, *, inplace: bool = False) -> Tensor:
    """One complex product for each pair of neighbours."""
    turning = _widen(x, 2 * turns.shape[-1])
    own = turning.dtype == x.dtype  # a view of x, and not a copy
    *strides, last = turning.stride()
    if last != 1 or math.gcd(2, turning.storage_offset(), *strides) == 1:
        turning, own = turning.clone(memory_format=torch.contiguous_format), False
    # `view` is quicker to call than `unflatten`, which counts for a single token.
    pairs = torch.view_as_complex(turning.view(*turning.shape[:-1], turns.shape[-1], 2))
    if own and not inplace:
        return _assemble(x, torch.view_as_real(pairs * turns).flatten(-2), inplace)
    pairs.mul_(turns)
    return x if own else _assemble(x, turning, inplace)


def _halves_at_once(
    x: Tensor, cos: Tensor, sin: Tensor, *, inplace: bool = False
) -> Tensor:
    """One pass for the cosines, given for both halves, and one for each sine."""
    turning = _widen(x, cos.shape[-1])
    turned = turning * cos
    (a, b), (to_a, to_b) = turning.chunk(2, -1), turned.chunk(2, -1)
    to_a.addcmul_(b, sin, value=-1)
    to_b.addcmul_(a, sin)
    return _assemble(x, turned, inplace)


class _Halves(torch.autograd.Function):
    """Halves, for training: the gradient of a turn is the turn back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return _by_slabs(_halves_at_once, x.detach(), (cos, sin), False)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx, grad):
        cos, sin = ctx.saved_tensors
        return _Halves.apply(grad, cos, -sin), None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        return _Halves.apply(tangent, *ctx.saved_tensors)


def _widen(x: Tensor, size: int) -> Tensor:
    """The features that turn, with at least 32 bits each."""
    turning = x if size == x.shape[-1] else x[..., :size]
    return turning if x.dtype.itemsize > 2 else turning.float()


def _assemble(x: Tensor, turned: Tensor, inplace: bool) -> Tensor:
    """What turned, in the dtype of x, with the features of x that did not."""
    size = turned.shape[-1]
    if inplace:
        x[..., :size] = turned
        return x
    turned = turned.to(x.dtype)
    whole = size == x.shape[-1]
    return turned if whole else torch.cat([turned, x[..., size:]], dim=-1)
