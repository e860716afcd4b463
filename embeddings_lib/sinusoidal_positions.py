"""Positions as fixed waves, from fast to slow: nothing to train (chapter 7)."""

import math

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from embeddings_lib import _guards
from embeddings_lib.exact_angles import ExactAngles, wave_rates


def sinusoidal_encoding(
    positions: Num[Tensor, "*batch seq"], embed_dim: int, *, base: float = 10_000.0
) -> Float[Tensor, "*batch seq embed_dim"]:
    """One row of sines and cosines for each position, in tokens.

    >>> sinusoidal_encoding(torch.tensor([0, 1]), embed_dim=4, base=100.0)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0998, 0.9950]])

    Equation: column 2i holds sin(angle) and column 2i + 1 holds cos(angle), where
    angle = position / base^(2i / embed_dim), in radians. The angles are computed in
    float64 and only the result is rounded to float32, so that it is right to 1e-7 at
    position 1,000,000 too, where float32 angles are off by 0.06.

    Raises ValueError for an odd embed_dim or a base that is not above 1, and TypeError
    for positions in a 16-bit format. Float32 positions are exact up to 16,777,216.

    Source: Vaswani et al. 2017, section 3.5.
    """
    _guards.sinusoids(embed_dim, positions)
    # On the CPU, as some GPUs have no float64.
    angles = positions.detach().cpu().double()[..., None] * wave_rates(embed_dim, base)
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1)  # (..., embed_dim / 2, 2)
    return waves.flatten(-2).float().to(positions.device)


class SinusoidalPositions(nn.Module):
    """`sinusoidal_encoding`, looked up, with the methods of `LearnedPositions`.

    >>> positions = SinusoidalPositions(embed_dim=4)
    >>> positions(torch.tensor([[5, 6, 7]])).shape  # any positions
    torch.Size([1, 3, 4])
    >>> positions.span(seq=2, offset=7).shape  # the positions 7 and 8
    torch.Size([2, 4])

    There are no weights, and every position from 0 to 1,048,575 has a row. Each pair
    (sine, cosine) is the tip of a hand that starts at twelve o'clock and turns
    clockwise: a wave that starts a quarter turn ahead and runs backwards.

    Raises ValueError for an odd embed_dim or a base that is not above 1, IndexError for
    a position outside 0 to 1,048,575, TypeError for positions that are not int64 or
    int32, and ValueError for positions on another device.
    """

    def __init__(
        self,
        embed_dim: int,
        *,
        base: float = 10_000.0,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        _guards.sinusoids(embed_dim)
        self.embed_dim = embed_dim
        self.base = base
        rates = wave_rates(embed_dim, base)
        self.angles = ExactAngles(-rates, start=math.pi / 2, device=device)

    def forward(
        self, positions: Int[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """Any positions: (*batch, seq) -> (*batch, seq, embed_dim)."""
        return self.angles(positions)

    def span(self, seq: int, offset: int = 0) -> Float[Tensor, "seq embed_dim"]:
        """The rows of the positions offset to offset + seq - 1."""
        return self.angles.span(seq, offset)

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, base={self.base}"
