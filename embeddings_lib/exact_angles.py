"""Exact sines and cosines for any position, from two small tables (chapter 7)."""

import torch
from jaxtyping import Float, Float64, Int
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


class ExactAngles(nn.Module):
    """The point that each wave has reached on its circle: (cosine, sine) of its angle.

    >>> angles = ExactAngles(wave_rates(4, base=100.0))
    >>> angles(torch.tensor([0, 1_000_000]))[:, 0]  # the cosine and sine of 1,000,000
    tensor([[ 1.0000,  0.0000],
            [ 0.9368, -0.3500]])
    >>> angles.span(seq=2, offset=999_999).shape  # the positions 999,999 and 1,000,000
    torch.Size([2, 2, 2])

    Equation: radius · (cos(angle), sin(angle)), where angle = start + position · rate,
    in radians, with positions in tokens.

    To turn by 1024·high + low is to turn by 1024·high, and then by low: the complex
    number e^(i(a + b)) is e^(ia) times e^(ib). So one table for high and one for low,
    of 1,024 rows each, serve every position from 0 to 1,048,575. They are built in
    float64 and rounded once to float32, and their product is right to 2e-7. Angles
    computed in float32 would make it wrong by 0.06 at the far end.

    There are no weights, and `state_dict` is empty. The tables follow the module to
    another device, and keep their precision in `.to(torch.bfloat16)`.

    Raises IndexError for a position outside 0 to 1,048,575, TypeError for positions
    that are not int64 or int32, and ValueError for positions on another device.
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
        self.rates = rates.detach().double().cpu()
        self.start = start
        self.radius = radius
        self._build(torch.empty(0, device=device).device)

    def _build(self, device: torch.device) -> None:
        # On the CPU, as some GPUs have no float64. And so that training can use what
        # was built in inference mode.
        with torch.inference_mode(False):
            rows = torch.arange(ROWS, dtype=torch.float64, device="cpu")
            low = rows[:, None] * self.rates
            angles = torch.stack([self.start + low * ROWS, low])
            radii = torch.ones_like(angles)
            radii[0] = self.radius
            tables = torch.polar(radii, angles)  # (2, 1024, rates)
            self.high, self.low = tables.to(torch.complex64).to(device)
            # The same for compiled code, which knows no complex numbers.
            self.cos = tables.real.float().to(device)
            self.sin = tables.imag.float().to(device)

    def _apply(self, fn, recurse=True):
        """Follow the module to another device, but not to another dtype."""
        device = fn(torch.empty(0, device=self.low.device)).device
        if device != self.low.device:
            self._build(device)
        return super()._apply(fn, recurse)

    @_guards.explains_indices("positions", table="low", **REACH)
    def forward(
        self, positions: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq waves 2"]:
        """Any positions: (*batch, seq) -> (*batch, seq, waves, 2)."""
        if torch.compiler.is_compiling():
            return torch.stack(self.cos_sin(positions)).movedim(0, -1)
        high, low = positions.flatten() // ROWS, positions.flatten() % ROWS
        points = self.high.index_select(0, high) * self.low.index_select(0, low)
        return torch.view_as_real(points).unflatten(0, positions.shape)

    def span(self, seq: int, offset: int = 0) -> Float[Tensor, "seq waves 2"]:
        """The positions offset to offset + seq - 1, one product for 1,024 of them."""
        _guards.span_within(seq, offset, **REACH)
        if torch.compiler.is_compiling():
            return self(torch.arange(offset, offset + seq, device=self.low.device))
        high, low = divmod(offset, ROWS)
        if low + seq <= ROWS:
            return torch.view_as_real(self.high[high] * self.low[low : low + seq])
        first = ROWS - low
        points = self.low.new_empty(seq, len(self.rates))
        torch.mul(self.high[high], self.low[low:], out=points[:first])
        for part in points[first:].split(ROWS):
            high += 1
            torch.mul(self.high[high], self.low[: len(part)], out=part)
        return torch.view_as_real(points)

    def cos_sin(
        self, positions: Int[Tensor, "*batch seq"]
    ) -> tuple[Float[Tensor, "*batch seq waves"], Float[Tensor, "*batch seq waves"]]:
        """Both parts of `forward` without complex numbers or checks, to be compiled."""
        high, low = positions // ROWS, positions % ROWS
        cos_high, cos_low = self.cos[0][high], self.cos[1][low]
        sin_high, sin_low = self.sin[0][high], self.sin[1][low]
        return (
            cos_high * cos_low - sin_high * sin_low,
            sin_high * cos_low + cos_high * sin_low,
        )

    def extra_repr(self) -> str:
        return f"rates={len(self.rates)}"
