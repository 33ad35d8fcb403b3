"""Continuous implicit attention-in-attention (Cao, Wang, Xian, Li, Ni, Pi, Zhang, Zhang, Timofte,
Van Gool: "CiaoSR: Continuous Implicit Attention-in-Attention Network for Arbitrary-Scale Image
Super-Resolution", CVPR 2023), written from its formulas."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Section, Widths
from liif.models.decoder import Decoder
from liif.models.decoders.lte import relative
from liif.models.field import Field, bilinear
from liif.models.geometry import EDGE, nearest, pixel_centres
from liif.models.layers import Mlp, after_first, conv

SCORES = 2**24
"""Attention scores that are in memory at once: any image takes bounded memory."""


class CiaoSrConfig(Section):
    """Configuration of the CiaoSR decoder."""

    name: Literal["ciaosr"] = "ciaosr"
    hidden: Widths = (256, 256, 256, 256)
    """Widths of the hidden layers of each of the three MLPs."""

    SMALL: ClassVar = {"hidden": (16, 12)}  # a variant for fast tests

    def build(self, width: int, channels: int) -> "CiaoSr":
        return CiaoSr(width, self, channels)


class NonLocal(nn.Module):
    """Attention of every pixel to the patches of the feature map at half its size (sec. 3.3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = max(width // 2, 1)
        self.conv_match_1 = nn.Sequential(conv(width, half, 1), nn.PReLU())
        self.conv_match_2 = nn.Sequential(conv(width, half, 1), nn.PReLU())
        self.conv_assembly = nn.Sequential(conv(width, width, 1), nn.PReLU())
        self.down = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, feat: Tensor) -> Tensor:
        """Return the map (B, C, h, w) of a feature map of this size."""
        h, w = feat.shape[-2:]
        beyond = (0, w % 2, 0, h % 2)
        feat = F.pad(feat, beyond, mode="reflect" if min(h, w) > 1 else "replicate")
        B, C, rows, cols = feat.shape
        small = F.interpolate(feat, scale_factor=0.5, mode="bilinear")
        keys = F.unfold(self.conv_match_2(small), 3, padding=1)  # (B, K, L), of L places
        keys = keys / keys.norm(dim=1, keepdim=True).clamp(min=1e-4)
        values = F.unfold(self.conv_assembly(feat), 6, stride=2, padding=2).mT  # (B, L, 36·C)
        queries = F.unfold(self.conv_match_1(feat), 3, padding=1).mT.unflatten(1, (rows, cols))
        # Every pixel gives a patch of 6×6 values at twice the size; patches overlap and are added.
        total = feat.new_zeros(B, C, 2 * (rows + 2), 2 * (cols + 2))
        step = max(SCORES // (B * cols * keys.shape[-1]), 1)
        for first in range(0, rows, step):
            band = queries[:, first : first + step]
            attention = (10 * (band.flatten(1, 2) @ keys)).softmax(dim=-1)
            patches = (attention.to(values) @ values).mT.to(total)
            size = (2 * (band.shape[1] + 2), 2 * (cols + 2))
            total[:, :, 2 * first : 2 * first + size[0]] += F.fold(patches, size, 6, stride=2)
        return (self.down(total[:, :, 2:-2, 2:-2]) / 6)[..., :h, :w]


class CiaoSr(Decoder):
    """rgb = bilinear image + f(Σ softmax(q·k) v) over four corners (eq. 3 to 8).

    With the unfolded features U and [U, N], N the non-local map: k = U ⊙ g([U, offset, cell]) and
    v = [U, N] ⊙ h([U, N, offset, cell]) of a corner, q = U of the nearest pixel. The parts of the
    first layers of g and h that multiply U and N are convolutions, made once for an image.
    """

    radius = None  # the non-local map depends on the whole image

    def __init__(self, width: int, config: CiaoSrConfig, channels: int = 3) -> None:
        super().__init__()
        self.width = width
        self.imnet_q = Mlp(10 * width, config.hidden, channels)
        self.imnet_k = Mlp(9 * width + 4, config.hidden, 9 * width)
        self.imnet_v = Mlp(10 * width + 4, config.hidden, 10 * width)
        self.cs_attn = NonLocal(width)
        self.code_channels = 28 * width + 2 * config.hidden[0] + channels

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute [U, N], the codes, and the maps of the first layers, from feat (B, C, h, w)."""
        h, w = feat.shape[-2:]
        count = 9 * self.width
        far = self.cs_attn(feat)
        of_k, of_v = self.imnet_k.linear[0].weight, self.imnet_v.linear[0].weight
        of_both = torch.cat([of_k[:, :count], of_v[:, :count]]).unflatten(1, (self.width, 3, 3))
        key, value = F.conv2d(feat, of_both, padding=1).split([len(of_k), len(of_v)], dim=1)
        value = value + F.conv2d(far, of_v[:, count:-4, None, None])
        codes = torch.cat([F.unfold(feat, 3, padding=1).unflatten(-1, (h, w)), far.to(feat)], dim=1)
        return Field.of_map(codes, maps={"key": key, "value": value, "lr": lr})

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2), cell (B, Q, 2) or (B, 1, 2)."""
        y, x = coord.unbind(-1)
        count = 9 * self.width
        share = relative(cell, field).expand(*y.shape, 2)
        row, col = (nearest(each, n).at for each, n in zip((y, x), field.size, strict=True))
        question = field.gather(row, col)[..., :count].float()
        scores, values = list[Tensor](), list[Tensor]()
        for row, col, offset in attended(coord, cell, field):
            code = field.gather(row, col)
            more = torch.cat([offset, share], dim=-1)
            key = factors(self.imnet_k, field.gather(row, col, "key"), more)
            scores.append((question * code[..., :count] * key).sum(dim=-1))
            values.append(code * factors(self.imnet_v, field.gather(row, col, "value"), more))
        weights = torch.stack(scores).softmax(dim=0)[..., None]
        mixed = (torch.stack(values) * weights).sum(dim=0)
        return self.imnet_q(mixed.to(field.codes)) + bilinear(field, y, x)


def factors(mlp: Mlp, hidden: Tensor, more: Tensor) -> Tensor:
    """Return what an MLP makes of features and four numbers `more` (B, Q, 4): `hidden` is the
    product of its first layer and the features."""
    first, *rest = ((layer.weight.to(hidden), layer.bias.to(hidden)) for layer in mlp.linear)
    hidden = hidden + F.linear(more.to(hidden), first[0][:, -4:], first[1])
    return after_first(hidden, rest)


def attended(coord: Tensor, cell: Tensor, field: Field) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield row, column and offset (B, Q, 2) of the four codes around points (B, Q, 2): the nearest
    ones to points that are moved by (1 - cell) / (n - 1), which is not half a pixel."""
    for signs in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        found = list[tuple[Tensor, Tensor]]()
        for axis, (sign, n) in enumerate(zip(signs, field.size, strict=True)):
            distance = (1 - cell[..., axis]) / max(n - 1, 1)
            at = (coord[..., axis] + (sign * distance + EDGE)).clamp(-1 + EDGE, 1 - EDGE)
            index = nearest(at, n).at
            found.append((index, (coord[..., axis] - pixel_centres(n, coord)[index]) * n))
        (row, offset_y), (col, offset_x) = found
        yield row, col, torch.stack([offset_y, offset_x], dim=-1)
