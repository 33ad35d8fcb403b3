"""The smallest decoder: no network for a pixel of the result."""

from typing import ClassVar, Literal

from torch import Tensor

from liif.core.section import Section
from liif.models.decoder import Decoder
from liif.models.field import Field, bilinear
from liif.models.layers import conv


class BilinearConfig(Section):
    """Configuration of the bilinear decoder."""

    name: Literal["bilinear"] = "bilinear"

    SMALL: ClassVar = {}  # a variant for fast tests

    def build(self, width: int, channels: int) -> "Bilinear":
        return Bilinear(width, channels)


class Bilinear(Decoder):
    """rgb = bilinear interpolation of (image + one convolution of the features): a baseline that
    shows what a decoder's network adds."""

    radius = 1

    def __init__(self, width: int, channels: int = 3) -> None:
        super().__init__()
        self.residual = conv(width, channels)
        self.code_channels = channels

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute the colours, the codes, of feat (B, C, h, w) and lr."""
        colours = self.residual(feat) + lr
        return Field.of_map(colours, maps={"lr": colours.float()})

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2); the cell is not used."""
        return bilinear(field, coord[..., 0], coord[..., 1])
