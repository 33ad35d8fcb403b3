"""The local texture estimator (Lee, Jin: "Local Texture Estimator for Implicit Representation
Function", CVPR 2022), and LTE+, the same function in another layout of weights."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Section, Width, Widths
from liif.models.decoder import Decoder
from liif.models.field import Field, bilinear
from liif.models.geometry import corners
from liif.models.layers import Layer, Mlp, after_first, conv, dense


class LteConfig(Section):
    """Configuration of the LTE decoder."""

    name: Literal["lte"] = "lte"
    hidden: Widths = (256, 256, 256)
    """Widths of the MLP's hidden layers."""
    waves: Width = 128
    """Pairs of frequencies; each has a cosine and a sine with amplitudes of their own."""

    SMALL: ClassVar = {"hidden": (16, 12), "waves": 6}  # a variant for fast tests

    def build(self, width: int, channels: int) -> "Lte":
        return Lte(width, self, channels)


class Lte(Decoder):
    """rgb = bilinear image + f(A ⊙ [cos φ, sin φ]) of the local ensemble, with the phases
    φ = π (F·(x - v*) + P·cell), and amplitudes A and frequencies F that a convolution each makes of
    the features (eq. 4 to 8)."""

    radius, block = 1, 64

    def __init__(self, width: int, config: LteConfig, channels: int = 3) -> None:
        super().__init__()
        self.coef = conv(width, 2 * config.waves)
        self.freq = conv(width, 2 * config.waves)
        self.phase = nn.Linear(2, config.waves, bias=False)
        self.mlp = Mlp(2 * config.waves, config.hidden, channels)
        self.code_channels = 4 * config.waves + channels

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute amplitudes, the codes, and frequencies of feat (B, C, h, w), and keep lr."""
        feat = feat.contiguous(memory_format=torch.channels_last)
        codes = self.coef(feat)
        maps = {"frequency": frequencies(self.freq, feat), "lr": lr}
        return Field.of_map(codes, layers=self.field_layers(codes), maps=maps)

    def field_layers(self, codes: Tensor) -> tuple[Layer, ...]:
        """Return all layers of the MLP."""
        return tuple((each.weight.to(codes), each.bias.to(codes)) for each in self.mlp.linear)

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2), cell (B, Q, 2) or (B, 1, 2)."""
        y, x = coord.unbind(-1)
        (weight, bias), *rest = field.layers
        phase = F.linear(relative(cell, field), self.phase.weight.float())
        rgb = bilinear(field, y, x)
        for corner in corners(y, x, field.size, ensemble=True):
            offsets = corner.offset_y[..., None], corner.offset_x[..., None]
            waves = waves_at(field.gather(corner.row, corner.col, "frequency"), *offsets, phase)
            inputs = field.gather(corner.row, corner.col) * waves.to(field.codes)
            part = after_first(dense(inputs, weight, bias, relu=False), rest)
            rgb = rgb + part * corner.weight[..., None]
        return rgb


def frequencies(layer: nn.Conv2d, feat: Tensor) -> Tensor:
    """Return frequencies (B, 2K, h, w) in float32, also where convolutions run in bfloat16: those
    along y, then those along x. The layer's channels are pairs (y, x), as published."""
    assert layer.bias is not None
    parts = layer.weight.float(), layer.bias.float()
    weight, bias = (torch.cat([part[0::2], part[1::2]]) for part in parts)
    with torch.autocast(feat.device.type, enabled=False):
        return F.conv2d(feat.float(), weight, bias, padding=layer.padding)  # pyright: ignore


def relative(cell: Tensor, field: Field) -> Tensor:
    """Return a cell (…, 2) in half-pixels of the field's grid."""
    return torch.stack([cell[..., i] * field.size[i] for i in (0, 1)], dim=-1)


def waves_at(frequency: Tensor, y: Tensor, x: Tensor, phase: Tensor) -> Tensor:
    """Return [cos, sin] (…, 2K) of π (frequency · (y, x) + phase): frequency (…, 2K), phase (…, K),
    offsets y and x (…, 1)."""
    along_y, along_x = frequency.chunk(2, dim=-1)
    angle = torch.pi * (along_y * y + along_x * x + phase)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)
