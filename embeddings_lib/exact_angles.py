"""Exact sines and cosines for any position, from two small tables (chapter 7)."""

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float, Float64, Int
from torch import Tensor, nn

from embeddings_lib import _guards


def wave_rates(dim: int, base: float = 10_000.0) -> Float64[Tensor, " waves"]:
    """How far each of dim / 2 waves turns from one token to the next, in radians.

    >>> wave_rates(6, base=1000.0)
    tensor([1.0000, 0.1000, 0.0100], dtype=torch.float64)

    Equation: rate i is base^(-2i / dim), from 1 down to nearly 1 / base. They are also
    called inverse frequencies. A wave is back where it was after 2π / rate tokens.

    Raises ValueError for a base that is not above 1.

    Source: Vaswani et al. 2017, section 3.5.
    """
    _guards.above(1, base=base)
    columns = torch.arange(0, dim, 2, dtype=torch.float64, device="cpu")
    return base ** (-columns / dim)


ROWS = 1024
REACH = {
    "rows": ROWS**2,
    "reason": f"two tables of {ROWS:,} rows reach no further",
    "remedy": "count them from the start of the text",
}


def is_traced() -> bool:
    """Whether a compiler or an exporter looks on: few of them know complex numbers.

    >>> is_traced()
    False
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


class ExactAngles(nn.Module):
    """The point that each wave has reached on its circle: cosine and sine, in turn.

    >>> angles = ExactAngles(wave_rates(4, base=100.0))
    >>> angles(torch.tensor([0, 1_000_000]))  # of two waves, the slower one last
    tensor([[ 1.0000,  0.0000,  1.0000,  0.0000],
            [ 0.9368, -0.3500, -0.9994,  0.0357]])
    >>> angles.span(seq=2, offset=999_999).shape  # the positions 999,999 and 1,000,000
    torch.Size([2, 4])

    Equation: column 2i holds radius · cos(angle) and column 2i + 1 holds radius ·
    sin(angle), where angle = start + position · rate of wave i, in radians, with
    positions in tokens.

    To turn by 1024·high + low is to turn by 1024·high, and then by low: the complex
    number e^(i(a + b)) is e^(ia) times e^(ib). So one table for high and one for low,
    of 1,024 rows each, serve every position from 0 to 1,048,575. They are built in
    float64 and rounded once to float32, and their product is right to 2e-7. Angles
    computed in float32 would make it wrong by 0.06 at the far end.

    There are no weights, and `state_dict` is empty. The tables are buffers, so they go
    where the module goes. When it is moved, emptied or given another dtype, they are
    computed anew: they are always exact, and always float32.

    Raises ValueError without a rate, IndexError for a position outside 0 to 1,048,575,
    TypeError for positions that are not int64 or int32, and ValueError for positions on
    another device. Compiled code refuses the same, as RuntimeError where it must read
    the positions.
    """

    def __init__(
        self,
        rates: Float[Tensor, " waves"],
        *,
        start: float = 0.0,
        radius: float = 1.0,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        _guards.at_least(1, waves=len(rates))
        self.rates = rates.detach().double().cpu()
        self.start = start
        self.radius = radius
        for name in ("high", "low"):
            nothing = torch.empty(0, device=device)
            self.register_buffer(name, nothing, persistent=False)
        self.reset_parameters()

    def reset_parameters(self, device: torch.device | str | None = None) -> None:
        """Compute both tables, on the device where they are, or on another one."""
        device = device or self.low.device
        # On the CPU, as some GPUs have no float64. And so that training can use what
        # was built in inference mode.
        with torch.inference_mode(False):
            rows = torch.arange(ROWS, dtype=torch.float64, device="cpu")
            low = rows[:, None] * self.rates
            high = self.start + ROWS * low
            for name, angles, radius in ("high", high, self.radius), ("low", low, 1.0):
                points = radius * torch.stack([angles.cos(), angles.sin()], dim=-1)
                setattr(self, name, points.flatten(-2).float().to(device))

    def _apply(self, fn, recurse=True):
        """Follow the module to another device, but not to another dtype."""
        before = self.low
        super()._apply(fn, recurse)
        if self.low is not before:  # it was moved, rounded or emptied
            self.reset_parameters()
        return self

    def _load_from_state_dict(self, state_dict, prefix, metadata, *more):
        """Where "meta" weights are replaced, and not moved, the tables are too."""
        super()._load_from_state_dict(state_dict, prefix, metadata, *more)
        if metadata.get("assign_to_params_buffers") and self.low.is_meta:
            self.reset_parameters(torch.get_default_device())

    @_guards.explains_indices("positions", table="low", **REACH)
    def forward(
        self, positions: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq numbers"]:
        """Any positions: (*batch, seq) -> (*batch, seq, 2 · waves)."""
        high, low = positions // ROWS, positions % ROWS
        high, low = F.embedding(high, self.high), F.embedding(low, self.low)
        if not is_traced():
            return (as_turns(high) * as_turns(low)).view(torch.float32)
        cos_high, sin_high, cos_low, sin_low = (
            points[..., part::2] for points in (high, low) for part in (0, 1)
        )
        cos = cos_high * cos_low - sin_high * sin_low
        sin = sin_high * cos_low + cos_high * sin_low
        return torch.stack([cos, sin], dim=-1).flatten(-2)

    def span(self, seq: int, offset: int = 0) -> Float[Tensor, "seq numbers"]:
        """The positions offset to offset + seq - 1, one product for 1,024 of them."""
        _guards.span_within(seq, offset, **REACH)
        if is_traced():
            return self(torch.arange(offset, offset + seq, device=self.low.device))
        if seq == 0:
            return self.low[:0]
        highs, lows = map(as_turns, self._buffers.values())
        high, low = divmod(offset, ROWS)
        if low + seq <= ROWS:
            return (highs[high] * lows[low : low + seq]).view(torch.float32)
        turns = lows.new_empty(seq, len(self.rates))
        first = ROWS - low
        torch.mul(highs[high], lows[low:], out=turns[:first])
        for part in turns[first:].split(ROWS):
            high += 1
            torch.mul(highs[high], lows[: len(part)], out=part)
        return turns.view(torch.float32)

    def extra_repr(self) -> str:
        return f"rates={len(self.rates)}"


def as_turns(
    points: Float[Tensor, "*rows numbers"],
) -> Complex[Tensor, "*rows waves"]:
    """Cosine and sine in turn, as complex numbers, without a copy.

    >>> as_turns(torch.tensor([0.0, 1.0]))
    tensor([0.+1.j])
    """
    return points.view(torch.complex64)
