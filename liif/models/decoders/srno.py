"""The super-resolution neural operator (Wei, Zhang: "Super-Resolution Neural Operator", CVPR 2023):
attention of the Galerkin kind, in which all points of the output share two small matrices."""

from typing import ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Section, Width
from liif.models.decoder import Decoder, Points
from liif.models.decoders.lte import relative
from liif.models.field import Field, bilinear
from liif.models.geometry import corners

CORNERS = (None, "upper right", "lower left", "lower right")
"""The maps of the four corners' parts of the first layer; the codes are those of the upper left."""


class SrnoConfig(Section):
    """Configuration of the SRNO decoder."""

    name: Literal["srno"] = "srno"
    width: Width = 256
    heads: Width = 16
    """A divisor of the width."""

    SMALL: ClassVar = {"width": 12, "heads": 3}  # a variant for fast tests

    @pydantic.model_validator(mode="after")
    def _check(self) -> "SrnoConfig":
        if self.width % self.heads or self.width == self.heads:
            raise ValueError(f"heads: {self.heads} is not a smaller divisor of width {self.width}")
        return self

    def build(self, width: int, channels: int) -> "Srno":
        return Srno(width, self, channels)


class HeadNorm(nn.Module):
    """Normalisation of each head's channels, with an affine map for each head: (x - mean) / (std +
    1e-5), std with n - 1 in the denominator."""

    def __init__(self, heads: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(heads, 1, channels))
        self.bias = nn.Parameter(torch.zeros(heads, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        return self.weight * centred / (x.std(dim=-1, keepdim=True) + 1e-5) + self.bias


class Galerkin(nn.Module):
    """x + o2(gelu(o1(x + q·S))), where S is the mean over all points of kᵀ·v, both normalised
    (eq. 9 to 11)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_proj = nn.Linear(width, 3 * width)
        self.o_proj1, self.o_proj2 = nn.Linear(width, width), nn.Linear(width, width)
        self.kln, self.vln = HeadNorm(heads, width // heads), HeadNorm(heads, width // heads)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k, v of x (B, Q, width), each (B, heads, Q, width / heads)."""
        q, k, v = self.qkv_proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2).chunk(3, dim=-1)
        return q, k, v

    def sums(self, x: Tensor) -> Tensor:
        """Return the sum over the points of x (B, Q, width): (B, heads, d, d)."""
        _, k, v = self.split(x)
        return self.kln(k).mT @ self.vln(v)

    def forward(self, x: Tensor, shared: Tensor) -> Tensor:
        q, _, _ = self.split(x)
        mixed = x + (q @ shared.to(q)).transpose(1, 2).flatten(2)
        return x + self.o_proj2(F.gelu(self.o_proj1(mixed)))


class Srno(Decoder):
    """rgb = bilinear image + an operator on [offsets, area-weighted features of four codes, cell].

    The first layer is linear, so its products with the features of the four corners are made once,
    as four maps; a query gathers from them and adds the products with offsets and cell.
    """

    radius = 0

    def __init__(self, width: int, config: SrnoConfig, channels: int = 3) -> None:
        super().__init__()
        self.width = width
        self.conv00 = nn.Linear(4 * (width + 2) + 2, config.width)
        self.conv0 = Galerkin(config.width, config.heads)
        self.conv1 = Galerkin(config.width, config.heads)
        # Its width is fixed in the published code.
        self.fc1, self.fc2 = nn.Linear(config.width, 256), nn.Linear(256, channels)
        self.code_channels = 4 * config.width + channels

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Multiply feat (B, C, h, w) by the parts of the first layer for the four corners."""
        parts = self.conv00.weight[:, 8:-2].unflatten(1, (4, self.width)).transpose(0, 1)
        feat = feat.contiguous(memory_format=torch.channels_last)
        first, *others = F.conv2d(feat, parts.flatten(0, 1)[:, :, None, None]).chunk(4, dim=1)
        maps = dict(zip(CORNERS[1:], others, strict=True))
        return Field.of_map(first, maps={**maps, "lr": lr})

    def statistics(self, points: Points) -> tuple[Tensor, ...]:
        """Return the matrices of the two layers, (B, heads, d, d) each."""
        first = points.mean(lambda *part: self.conv0.sums(self.entered(*part)))
        second = points.mean(lambda *part: self.conv1.sums(self.conv0(self.entered(*part), first)))
        return first, second

    def entered(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return the output of the first layer, (B, Q, width)."""
        y, x = coord.unbind(-1)
        weight = self.conv00.weight
        offsets, total = list[Tensor](), torch.zeros((), device=coord.device)
        for name, corner in zip(CORNERS, corners(y, x, field.size, ensemble=True), strict=True):
            offsets += [corner.offset_y, corner.offset_x]
            code = field.gather(corner.row, corner.col, name)
            total = total + code * corner.weight[..., None].to(code)
        numbers = torch.stack(offsets, dim=-1)
        inputs = torch.cat([numbers, relative(cell, field).expand(*y.shape, 2)], dim=-1)
        share = torch.cat([weight[:, :8], weight[:, -2:]], dim=1)
        return total + F.linear(inputs.to(total), share.to(total), self.conv00.bias.to(total))

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2), cell (B, Q, 2) or (B, 1, 2)."""
        first, second = self.statistics_for(field, coord, cell)
        value = self.conv1(self.conv0(self.entered(field, coord, cell), first), second)
        rgb = self.fc2(F.gelu(self.fc1(value)))
        return rgb + bilinear(field, coord[..., 0], coord[..., 1])
