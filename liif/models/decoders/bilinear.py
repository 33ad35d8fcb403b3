"""The smallest decoder: no network for a pixel of the result."""

from typing import ClassVar, Literal

from torch import Tensor

from liif.core.section import Section
from liif.models.decoder import BLOCK_BYTES, Decoder
from liif.models.field import Field, bicubic_taps, bilinear_taps, interpolate
from liif.models.layers import conv
from liif.models.separable import interpolate_grid


class BilinearConfig(Section):
    """Configuration of the bilinear decoder."""

    name: Literal["bilinear"] = "bilinear"
    kernel: Literal["bilinear", "bicubic"] = "bilinear"
    """Interpolation of the colours; bicubic is Keys' (1981), as of MATLAB and Pillow."""

    SMALL: ClassVar = {}  # a variant for fast tests

    def build(self, width: int, channels: int) -> "Bilinear":
        return Bilinear(width, self, channels)


class Bilinear(Decoder):
    """rgb = bilinear or bicubic interpolation of (image + one convolution of the features): a
    baseline that shows what a decoder's network adds."""

    radius, block = 1, 256

    def __init__(self, width: int, config: BilinearConfig, channels: int = 3) -> None:
        super().__init__()
        is_bicubic = config.kernel == "bicubic"
        self.taps, self.reach = (bicubic_taps, 2) if is_bicubic else (bilinear_taps, 1)
        self.residual = conv(width, channels)
        self.code_channels = channels

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute the colours, the codes, of feat (B, C, h, w) and lr."""
        colours = self.residual(feat) + lr
        return Field.of_map(colours, maps={"lr": colours.float()})

    def pixel_bytes(self, field: Field) -> int:
        """As `Decoder.pixel_bytes`, where the grid is a dense product with all cells of a block."""
        return BLOCK_BYTES // 128**2

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2); the cell is not used."""
        return interpolate(field, coord[..., 0], coord[..., 1], self.taps)

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """As `query`, for a grid: rows first, then columns."""
        return interpolate_grid(field, y, x, self.taps)
