"""Positions as fixed waves, from fast to slow: nothing to train (chapter 6)."""

import math

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn


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
    if embed_dim < 2 or embed_dim % 2:
        raise ValueError(
            "embed_dim must be even, because each sine has a cosine beside it; got "
            f"{embed_dim}"
        )
    if not 1 < base < math.inf:
        raise ValueError(
            "base must be above 1, because each wave is slower than the one before; "
            f"got {base}"
        )
    if positions.dtype in (torch.bfloat16, torch.float16):
        raise TypeError(
            "positions must be integers, float32 or float64, because a 16-bit format "
            f"skips whole numbers from 256 or 2,048 on; got {positions.dtype}"
        )
    # On the CPU, as some GPUs have no float64.
    columns = torch.arange(0, embed_dim, 2, dtype=torch.float64)
    rates = base ** (-columns / embed_dim)  # radians per token, (embed_dim / 2)
    angles = positions.detach().cpu().double()[..., None] * rates
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1)  # (..., embed_dim / 2, 2)
    return waves.flatten(-2).float().to(positions.device)


class SinusoidalPositions(nn.Module):
    """`sinusoidal_encoding` with the methods of `LearnedPositions`, and no weights.

    >>> positions = SinusoidalPositions(embed_dim=4)
    >>> positions.span(seq=2, offset=7).shape  # the positions 7 and 8
    torch.Size([2, 4])

    There is no context_length: every position has a row. Raises as
    `sinusoidal_encoding` does, and IndexError for a negative seq or offset.
    """

    def __init__(self, embed_dim: int, *, base: float = 10_000.0):
        super().__init__()
        sinusoidal_encoding(torch.zeros(1), embed_dim, base=base)  # refuses bad values
        self.embed_dim = embed_dim
        self.base = base

    def forward(
        self, positions: Num[Tensor, "*batch seq"]
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        """Compute any positions: (*batch, seq) -> (*batch, seq, embed_dim)."""
        return sinusoidal_encoding(positions, self.embed_dim, base=self.base)

    def span(
        self, seq: int, offset: int = 0, *, device: torch.device | str | None = None
    ) -> Float[Tensor, "seq embed_dim"]:
        """The rows of the positions offset to offset + seq - 1."""
        if seq < 0 or offset < 0:
            raise IndexError(
                "positions must be 0 or more, because the first token is at 0; got "
                f"{seq} tokens from position {offset}"
            )
        return self(torch.arange(offset, offset + seq, device=device))

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, base={self.base}"
