"""The cascaded local implicit transformer (Chen, Xu, Hong, Tsai, Kuo, Lee: "Cascaded Local Implicit
Transformer for Arbitrary-Scale Super-Resolution", CVPR 2023)."""

import math
from itertools import product
from typing import ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Section, Width, Widths
from liif.models.decoder import Decoder
from liif.models.decoders.itsrn import gelu_mlp
from liif.models.decoders.lte import relative
from liif.models.field import Field, bilinear
from liif.models.geometry import nearest
from liif.models.layers import conv

STEP = 4
"""Scale at which the next stage begins, and factor between the grids of two stages."""
OCTAVES = 10
"""Logarithm of the highest frequency of the position's encoding."""


class ClitConfig(Section):
    """Configuration of the CLIT decoder."""

    name: Literal["clit"] = "clit"
    width: Width = 256
    """A multiple of the heads."""
    heads: Width = 8
    reach: int = pydantic.Field(default=3, ge=2, le=8)
    """Codes that the attention window extends to each side of the nearest one."""
    hidden: Widths = (256, 256, 256, 256)
    """Widths of the hidden layers of each stage's MLP."""
    waves: Width = 16
    """Frequencies of the position's encoding along each axis."""
    stages: int = pydantic.Field(default=1, ge=1, le=3)
    """Stage 2 is used beyond scale 4, stage 3 beyond scale 16. With 1 stage the paper's LIT."""

    SMALL: ClassVar = {"width": 8, "heads": 2, "reach": 2, "hidden": (8, 6), "waves": 2}

    @pydantic.model_validator(mode="after")
    def _check(self) -> "ClitConfig":
        if self.width % self.heads:
            raise ValueError(f"heads: {self.heads} is not a divisor of width {self.width}")
        return self

    def build(self, width: int, channels: int) -> "Clit":
        return Clit(width, self, channels)


class Clit(Decoder):
    """rgb = bilinear image + Σ 0.75^(n-j) f_j([a_p · v_p for p in the window], cell), j = 1 … n:
    the MLP f_j sees the values v of all codes in a window, each weighted by its attention a (eq. 3
    to 7). The codes of stage j lie on a grid that is 4^(j-1) times as fine."""

    def __init__(self, width: int, config: ClitConfig, channels: int = 3) -> None:
        super().__init__()
        self.heads, self.reach, self.stages = config.heads, config.reach, config.stages
        self.places = list(product(range(-config.reach, config.reach + 1), repeat=2))
        self.conv_ch = conv(width, config.width)
        self.conv_qs, self.conv_ks, self.conv_vs = (
            nn.ModuleList(conv(config.width, config.width) for _ in range(config.stages))
            for _ in range(3)
        )
        self.position = nn.Linear(4 * config.waves, config.heads)
        inputs = len(self.places) * config.width + 2
        self.imnets = nn.ModuleList(
            gelu_mlp(inputs, config.hidden, channels) for _ in range(config.stages)
        )
        self.radius = 2
        self.code_channels = (3 + (config.stages > 1)) * config.width + channels

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute values, the codes, keys and queries of the first stage, of feat (B, C, h, w)."""
        feat = self.conv_ch(feat)
        maps = {"query": self.conv_qs[0](feat), "key": self.conv_ks[0](feat), "lr": lr}
        if self.stages > 1:
            maps["feat"] = feat
        return Field.of_map(self.conv_vs[0](feat), maps=maps)

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2), cell (B, Q, 2) or (B, 1, 2)."""
        rgb = self.answer(0, field, coord, cell)
        scale = 2 / relative(cell, field).amin(dim=-1, keepdim=True)
        for stage in range(1, self.stages):
            is_used = scale > STEP**stage * (1 + 1e-4)  # not at the scale itself, by rounding
            if not is_used.any():
                break
            more = self.answer(stage, self.finer(stage, field, coord), coord, cell)
            rgb = torch.where(is_used, more + 0.75 * rgb, rgb)
        return rgb + bilinear(field, coord[..., 0], coord[..., 1])

    def finer(self, stage: int, field: Field, coord: Tensor) -> Field:
        """Return the field of a later stage around the points: the features of the first one,
        interpolated on its grid, and what its convolutions make of them."""
        h, w = (n * STEP**stage for n in field.size)
        axes, places = list[Tensor](), list[Tensor]()
        for axis, n in enumerate((h, w)):
            at = nearest(coord[..., axis], n).at
            first, last = int(at.min()) - self.reach - 1, int(at.max()) + self.reach + 2
            axes.append(torch.arange(first, last, device=coord.device))
            places.append(axes[-1].to(coord) * (2 / n) + (1 / n - 1))
        inside = (axes[0] >= 0) & (axes[0] < h), (axes[1] >= 0) & (axes[1] < w)
        feat = interpolated(field, "feat", places[0][None, :, None], places[1][None, None])
        feat = feat * (inside[0][:, None] & inside[1])[..., None]  # as the zeros that conv pads by
        feat = feat.permute(0, 3, 1, 2).to(field.codes)
        value, key, query = (
            convs[stage](feat)[..., 1:-1, 1:-1].permute(0, 2, 3, 1).contiguous()
            for convs in (self.conv_vs, self.conv_ks, self.conv_qs)
        )
        origin = int(axes[0][1]), int(axes[1][1])
        return Field(value, size=(h, w), origin=origin, maps={"key": key, "query": query})

    def answer(self, stage: int, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return what a stage's MLP makes of its field, (B, Q, C), in float32."""
        y, x = coord.unbind(-1)
        row, col = (nearest(each, n) for each, n in zip((y, x), field.size, strict=True))
        query = interpolated(field, "query", y, x).unflatten(-1, (self.heads, -1))
        of_y, of_x = self.position_bias(row.offset, 0), self.position_bias(col.offset, 1)
        scores = list[Tensor]()
        for i, j in self.places:
            key = neighbour(field, row.at + i, col.at + j, "key").unflatten(-1, (self.heads, -1))
            bias = of_y[..., i + self.reach, :] + of_x[..., j + self.reach, :] + self.position.bias
            scores.append((query * key).sum(dim=-1) / math.sqrt(key.shape[-1]) + bias)
        weights = torch.stack(scores).softmax(dim=0).to(field.codes)[..., None]
        layers = self.imnets[stage].modules()
        first, *rest = (layer for layer in layers if isinstance(layer, nn.Linear))
        of_cell = relative(cell, field).to(field.codes).expand(*y.shape, 2)
        hidden = F.linear(of_cell, first.weight[:, -2:], first.bias)
        # One code after another: a point's whole input would be 12,546 numbers.
        parts = first.weight[:, :-2].chunk(len(self.places), dim=1)
        for (i, j), weight, part in zip(self.places, weights, parts, strict=True):
            value = neighbour(field, row.at + i, col.at + j).unflatten(-1, (self.heads, -1))
            hidden = hidden + F.linear((value * weight).flatten(-2), part)
        for layer in rest:
            hidden = layer(F.gelu(hidden))
        return hidden.float()

    def position_bias(self, offset: Tensor, axis: int) -> Tensor:
        """Return the part of the scores' biases along an axis, (…, 2 · reach + 1, heads), for
        offsets (…,) from the nearest code."""
        weight = self.position.weight.unflatten(1, (2, 2, -1))[:, :, axis].flatten(1)
        count = weight.shape[1] // 2
        steps = torch.arange(-self.reach, self.reach + 1, device=offset.device)
        rates = 2 ** torch.linspace(0, OCTAVES, count, device=offset.device) - 1
        angles = (offset[..., None] - 2 * steps)[..., None] * rates.to(offset)
        return F.linear(torch.cat([angles.sin(), angles.cos()], dim=-1), weight)


def neighbour(field: Field, row: Tensor, col: Tensor, name: str | None = None) -> Tensor:
    """As `Field.gather`, and zero beyond the edge."""
    h, w = field.size
    inside = (row >= 0) & (row < h) & (col >= 0) & (col < w)
    return field.gather(row, col, name) * inside[..., None]


def interpolated(field: Field, name: str, y: Tensor, x: Tensor) -> Tensor:
    """Interpolate a map bilinearly, with zeros beyond the edge, in float32: (B, …, K) at
    coordinates y and x of broadcastable shapes whose first dimension is 1 or B."""
    at_y, at_x = (((each + 1) * n - 1) / 2 for each, n in zip((y, x), field.size, strict=True))
    out = torch.zeros((), device=y.device)
    for i, j in product((0, 1), repeat=2):
        row, col = at_y.floor() + i, at_x.floor() + j
        weight = (1 - (at_y - row).abs()) * (1 - (at_x - col).abs())
        out = out + neighbour(field, row.long(), col.long(), name) * weight[..., None]
    return out
