"""Exact sines and cosines for any position, from two small tables (chapter 6)."""

import math

import torch
from jaxtyping import Complex, Float, Float64, Int
from torch import Tensor, nn

from embeddings_lib._guards import explained


def wave_rates(dim: int, base: float = 10_000.0) -> Float64[Tensor, " waves"]:
    """How far each of dim / 2 waves turns from one token to the next, in radians.

    >>> wave_rates(6, base=1000.0)
    tensor([1.0000, 0.1000, 0.0100], dtype=torch.float64)

    Equation: rate i is base^(-2i / dim), from 1 down to nearly 1 / base. They are also
    called inverse frequencies. A wave is back where it was after 2π / rate tokens.

    Raises ValueError for a base that is not above 1.

    Source: Vaswani et al. 2017, section 3.5.
    """
    if not 1 < base < math.inf:
        raise ValueError(
            "base must be above 1, because each wave is slower than the one before; "
            f"got {base}"
        )
    columns = torch.arange(0, dim, 2, dtype=torch.float64, device="cpu")
    return base ** (-columns / dim)


class ExactAngles(nn.Module):
    """The point that each wave has reached on its circle, as a complex number.

    >>> waves = ExactAngles(wave_rates(4, base=100.0))
    >>> waves(torch.tensor([0, 1_000_000])).imag  # the sines of 1 and 0.1 times that
    tensor([[ 0.0000,  0.0000],
            [-0.3500,  0.0357]])
    >>> waves.span(seq=2, offset=999_999).shape  # the positions 999,999 and 1,000,000
    torch.Size([2, 2])

    Equation: radius · e^(i·angle) = radius · (cos(angle) + i sin(angle)), where angle =
    start + position · rate, in radians, with positions in tokens.

    To turn by 1024·high + low is to turn by 1024·high, and then by low: e^(i(a + b)) is
    e^(ia) times e^(ib). So one table for high and one for low, of 1,024 rows each,
    serve every position from 0 to 1,048,575. They are built in float64 and rounded once
    to float32, and their product is right to 2e-7. Angles computed in float32 would
    make it wrong by 0.06 at the far end.

    There are no weights, and `state_dict` is empty. The tables follow the module to
    another device, and keep their precision in `.to(torch.bfloat16)`.

    Raises IndexError for a position outside 0 to 1,048,575, TypeError for positions
    that are not int64 or int32, and ValueError for positions on another device.
    """

    ROWS = 1024

    def __init__(
        self,
        rates: Float[Tensor, " waves"],
        *,
        start: float = 0.0,
        radius: float = 1.0,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        self.rates = rates.detach().double().cpu()
        self.start = start
        self.radius = radius
        self._build(torch.empty(0, device=device).device)

    def _build(self, device: torch.device) -> None:
        # On the CPU, as some GPUs have no float64. And so that training can use what
        # was built in inference mode.
        with torch.inference_mode(False):
            rows = torch.arange(self.ROWS, dtype=torch.float64, device="cpu")
            low = rows[:, None] * self.rates
            angles = torch.stack([self.start + low * self.ROWS, low])
            radii = torch.ones_like(angles)
            radii[0] = self.radius
            turns = torch.polar(radii, angles)  # (2, 1024, rates)
            self.high, self.low = turns.to(torch.complex64).to(device)
            # The same for compiled code, which knows no complex numbers.
            self.cos = turns.real.float().to(device)
            self.sin = turns.imag.float().to(device)

    def _apply(self, fn, recurse=True):
        """Follow the module to another device, but not to another dtype."""
        device = fn(torch.empty(0, device=self.low.device)).device
        if device != self.low.device:
            self._build(device)
        return super()._apply(fn, recurse)

    def forward(
        self, positions: Int[Tensor, "*batch seq"]
    ) -> Complex[Tensor, "*batch seq waves"]:
        """Any positions: (*batch, seq) -> (*batch, seq, rates)."""
        return explained(
            self._look_up,
            positions,
            rows=self.ROWS**2,
            device=self.low.device,
            what="positions",
            reason=f"two tables of {self.ROWS:,} rows reach no further",
            remedy="count them from the start of the text",
        )

    def _look_up(self, positions: Tensor) -> Tensor:
        high, low = positions.flatten() // self.ROWS, positions.flatten() % self.ROWS
        turns = self.high.index_select(0, high) * self.low.index_select(0, low)
        return turns.unflatten(0, positions.shape)

    def span(self, seq: int, offset: int = 0) -> Complex[Tensor, "seq waves"]:
        """The positions offset to offset + seq - 1, one product for 1,024 of them."""
        if seq < 0 or offset < 0 or offset + seq > self.ROWS**2:
            raise IndexError(
                f"positions must be 0 to {self.ROWS**2 - 1}, because two tables of "
                f"{self.ROWS:,} rows reach no further; got {seq} tokens from position "
                f"{offset}: count them from the start of the text"
            )
        high, low = divmod(offset, self.ROWS)
        if low + seq <= self.ROWS:
            return self.high[high] * self.low[low : low + seq]
        first = self.ROWS - low
        turns = self.low.new_empty(seq, len(self.rates))
        torch.mul(self.high[high], self.low[low:], out=turns[:first])
        for part in turns[first:].split(self.ROWS):
            high += 1
            torch.mul(self.high[high], self.low[: len(part)], out=part)
        return turns

    def cos_sin(
        self, positions: Int[Tensor, "*batch seq"]
    ) -> tuple[Float[Tensor, "*batch seq waves"], Float[Tensor, "*batch seq waves"]]:
        """Both parts of `forward` without complex numbers or checks, to be compiled."""
        high, low = positions // self.ROWS, positions % self.ROWS
        cos_high, cos_low = self.cos[0][high], self.cos[1][low]
        sin_high, sin_low = self.sin[0][high], self.sin[1][low]
        return (
            cos_high * cos_low - sin_high * sin_low,
            sin_high * cos_low + cos_high * sin_low,
        )

    def extra_repr(self) -> str:
        return f"rates={len(self.rates)}"
