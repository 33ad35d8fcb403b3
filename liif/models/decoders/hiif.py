"""Hierarchical encoding (Jiang, Kwan, Peng, Gao, Zhang, Zhu, Sole, Bull: "HIIF: Hierarchical
Encoding based Implicit Image Function for Continuous Super-resolution", CVPR 2025)."""

from itertools import pairwise
from typing import ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Section, Width
from liif.models.decoder import Decoder, Points
from liif.models.decoders.lte import relative
from liif.models.decoders.srno import Galerkin
from liif.models.field import Field, bilinear
from liif.models.geometry import corners
from liif.models.layers import conv


class HiifConfig(Section):
    """Configuration of the HIIF decoder."""

    name: Literal["hiif"] = "hiif"
    width: Width = 256
    heads: Width = 16
    """A divisor of the width."""
    levels: Width = 6
    """Bits of the position in a pixel, and layers that are each given one."""
    margin: float = pydantic.Field(default=1e-4, ge=0, lt=0.01)
    """Added to the position, in pixels, so that its bits do not hang on rounding: at x2, for
    example, positions are 1/4 and 3/4, where bits change. 0, as published, lets the last bit of
    float32 decide."""

    SMALL: ClassVar = {"width": 12, "heads": 3, "levels": 3}  # a variant for fast tests

    @pydantic.model_validator(mode="after")
    def _check(self) -> "HiifConfig":
        if self.width % self.heads or self.width == self.heads:
            raise ValueError(f"heads: {self.heads} is not a smaller divisor of width {self.width}")
        if self.levels < 2:
            raise ValueError(f"levels: {self.levels} is less than 2")
        return self

    def build(self, width: int, channels: int) -> "Hiif":
        return Hiif(width, self, channels)


class PlainGalerkin(Galerkin):
    """SRNO's layer with PyTorch's normalisation, whose weights all heads share."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.kln, self.vln = nn.LayerNorm(width // heads), nn.LayerNorm(width // heads)


class BitLayer(nn.Module):
    """An MLP of the normalised vector [x, two bits]."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels_in + 2)
        # The width between the two layers is fixed in the published code.
        self.fc1, self.fc2 = nn.Linear(channels_in + 2, 256), nn.Linear(256, channels_out)

    def forward(self, x: Tensor, bits: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(torch.cat([x, bits.to(x)], dim=-1)))))


class Hiif(Decoder):
    """rgb = bilinear image + layers that are given the position in a pixel bit by bit; after the
    first one, two layers of attention over all points (fig. 2)."""

    radius = 1

    def __init__(self, width: int, config: HiifConfig, channels: int = 3) -> None:
        super().__init__()
        self.margin = config.margin
        self.freq = conv(width, config.width)
        widths = [4 * config.width + 2, *[config.width] * (config.levels - 1), channels]
        self.fc_layers = nn.ModuleList(BitLayer(a, b) for a, b in pairwise(widths))
        self.conv0 = PlainGalerkin(config.width, config.heads)
        self.conv1 = PlainGalerkin(config.width, config.heads)
        self.code_channels = config.width + channels

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute codes of feat (B, C, h, w), and keep lr."""
        feat = feat.contiguous(memory_format=torch.channels_last)
        return Field.of_map(self.freq(feat), maps={"lr": lr})

    def statistics(self, points: Points) -> tuple[Tensor, ...]:
        """Return the matrices of the two layers of attention, (B, heads, d, d) each."""
        first = points.mean(lambda *part: self.conv0.sums(self.entered(*part)[0]))
        second = points.mean(
            lambda *part: self.conv1.sums(self.conv0(self.entered(*part)[0], first))
        )
        return first, second

    def entered(self, field: Field, coord: Tensor, cell: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the output of the first layer, (B, Q, width), and the bits of all layers."""
        y, x = coord.unbind(-1)
        parts, inside = list[Tensor](), list[Tensor]()
        # Published: offsets in pixels, not half-pixels, and the same 1e-9. It tells where a point
        # coincides with a code along one axis.
        for corner in corners(y, x, field.size, ensemble=True, added=4e-9):
            inside += [corner.offset_y / 2, corner.offset_x / 2]
            parts.append(field.gather(corner.row, corner.col) * corner.weight[..., None])
        parts.append(relative(cell, field).expand(*y.shape, 2))
        bits = self.bits(torch.stack(inside[:2], dim=-1), field)
        value = torch.cat([part.to(field.codes) for part in parts], dim=-1)
        return self.fc_layers[0](value, bits[0]), bits

    def bits(self, inside: Tensor, field: Field) -> list[Tensor]:
        """Return the first bits of a position (…, 2) right of and below the first code, in pixels,
        as numbers 0 and 1."""
        # Published: in coordinates and pixels at once. It acts where a point coincides with a code.
        mirrored = torch.stack([1 / n - inside[..., i] for i, n in enumerate(field.size)], dim=-1)
        position = torch.where(inside <= self.margin, mirrored, inside)
        position = (position + (self.margin - 1e-9)).clamp(0, 1 - self.margin)
        return [(position * 2**n).floor() % 2 for n in range(1, len(self.fc_layers) + 1)]

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2), cell (B, Q, 2) or (B, 1, 2)."""
        first, second = self.statistics_for(field, coord, cell)
        value, bits = self.entered(field, coord, cell)
        value = self.conv1(self.conv0(value, first), second)
        for layer, bit in zip(self.fc_layers[1:], bits[1:], strict=True):
            value = layer(value, bit)
        return value + bilinear(field, coord[..., 0], coord[..., 1])
