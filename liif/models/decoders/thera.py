"""Neural heat fields (Becker, Caye Daudt, Narnhofer, Peters, Metzger, Wegner, Schindler: "Thera:
Aliasing-Free Arbitrary-Scale Super-Resolution with Neural Heat Fields", 2023)."""

import math
from dataclasses import replace
from typing import ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Section, Width
from liif.models.decoder import Decoder
from liif.models.field import Field
from liif.models.geometry import nearest
from liif.models.repeated import repeated_axes, repeated_sum
from liif.models.swin import Swin, SwinConfig


class TheraConfig(Section):
    """Configuration of the Thera decoder. The defaults are Thera Air; with `hidden: 512`, Thera
    Plus has `tail: [[6, 64], [7, 96], [3, 128]]`, and Thera Pro `swin: {depths: [7, 6]}`."""

    name: Literal["thera"] = "thera"
    hidden: Width = 32
    """Waves of a field."""
    tail: tuple[tuple[Width, Width], ...] = ()
    """(blocks, channels) of the stages of ConvNeXt blocks behind the encoder."""
    swin: SwinConfig | None = None
    """Groups of attention in windows behind them."""
    bandwidth: pydantic.PositiveFloat = 16 * math.pi
    """Largest frequency at the start of training, in radians for a low-resolution pixel."""

    SMALL: ClassVar = {"hidden": 8, "tail": ((1, 8), (1, 12)), "bandwidth": 1.0}  # for fast tests
    gives: ClassVar = "slopes"

    def build(self, width: int, channels: int) -> "Thera":
        return Thera(width, self, channels)


class ConvNeXtBlock(nn.Module):
    """x + f(x) of a map (B, h, w, C), f a 3×3 convolution of each channel and an MLP (Liu et al.,
    CVPR 2022, fig. 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return x + self.fc2(F.gelu(self.fc1(inner), approximate="tanh"))


class Thera(Decoder):
    """rgb = nearest pixel + Σ m_j sin(W_j·u + p_j) exp(-|W_j|² κ t), the field of the nearest code:
    its colours m and phases p, at the offset u in low-resolution pixels. The frequencies W are
    shared, and t, the square of the output pixel's height in low-resolution pixels, damps those
    that the output cannot show (eq. 5 to 9).

    The published code then adds the mean of its normalisation a second time. In front of the
    attention in windows it mirrors the features beyond their lower and right edge, without the edge
    itself, to whole windows; its GELU is the approximation with tanh.
    """

    block = 128

    def __init__(self, width: int, config: TheraConfig, channels: int = 3) -> None:
        super().__init__()
        self.channels, self.hidden = channels, config.hidden
        self.radius = sum(blocks for blocks, _ in config.tail)
        layers = list[nn.Module]()
        for blocks, wanted in config.tail:
            if wanted != width:
                layers += [nn.LayerNorm(width, eps=1e-6), nn.Linear(width, wanted)]
                width = wanted
            layers += [ConvNeXtBlock(width) for _ in range(blocks)]
        self.tail = nn.Sequential(*layers)
        self.swin = None if config.swin is None else Swin(config.swin, width, width, gelu="tanh")
        if self.swin is not None:
            self.radius += self.swin.radius
            self.window = self.swin.window
        self.out_conv = nn.Conv2d(width, config.hidden * (channels + 1), 1)
        # Uniform on a disc. On the device "meta", where files are checked, these functions would
        # import PyTorch's compiler first, for seconds.
        radius = config.bandwidth * torch.rand(config.hidden, device="cpu").sqrt()
        angle = 2 * math.pi * torch.rand(config.hidden, device="cpu")
        self.components = nn.Parameter(torch.stack([radius * angle.cos(), radius * angle.sin()]))
        self.k = nn.Parameter(torch.tensor(math.sqrt(math.log(4)) / (2 * math.pi**2)))
        peak = 6 * width if self.swin is None else self.swin.peak_channels
        self.code_channels = max(2 * config.hidden * (channels + 1) + channels, peak)

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute colours, the codes, and phases of the waves of feat (B, C, h, w), and keep lr."""
        feat = self.tail(feat.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        if self.swin is not None:
            h, w = feat.shape[2:]
            feat = self.swin(mirrored(feat, self.swin.window))[..., :h, :w]
        weight, bias = self.out_conv.weight, self.out_conv.bias
        assert bias is not None
        count = self.hidden * self.channels
        # The layer's channels are (wave, colour), the codes' (colour, wave): waves are summed.
        order = torch.arange(count, device=feat.device).view(self.hidden, -1).T.flatten()
        colours = F.conv2d(feat, weight[order], bias[order])
        with torch.autocast(feat.device.type, enabled=False):  # a phase in bfloat16 is no phase
            phases = F.conv2d(feat.float(), weight[count:], bias[count:])
        return Field.of_map(colours, maps={"phase": phases, "lr": lr})

    def bind(self, field: Field, cell: Tensor) -> Field:
        """Damp the waves for a cell (B, 2)."""
        t = (cell[:, :1] * (field.size[0] / 2)).square()
        damping = torch.exp(-self.components.square().sum(dim=0) * (self.k * t))  # (B, hidden)
        damping = damping.repeat(1, self.channels)[:, None, None]
        return replace(field, codes=field.codes * damping.to(field.codes))

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2)."""
        return self._colours(field, coord[..., 0], coord[..., 1])

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """As `query`, (B, R, W, C), with the geometry of rows and columns, not of points. Where
        pixels lie alike in every cell, sin(angle + phase) is a sum of products of the cell's
        numbers and the offset's."""
        if axes := repeated_axes(field, y, x):
            along_y, along_x = self.components[..., None, None]
            angle = (axes[0].offsets[:, None] * along_y + axes[1].offsets * along_x) / 2
            cells = (slice(None), axes[0].cells, axes[1].cells)
            colours = field.codes[cells].unflatten(-1, (self.channels, self.hidden))
            phase = field.maps["phase"][cells][..., None, :]
            image = field.maps["lr"][cells][..., None], torch.ones_like(angle[:1])
            terms = [(colours * phase.sin(), angle.cos()), (colours * phase.cos(), angle.sin())]
            return repeated_sum(axes, [image, *terms])
        return self._colours(field, y.view(1, -1, 1), x.view(1, 1, -1))

    def _colours(self, field: Field, y: Tensor, x: Tensor) -> Tensor:
        """Return colours (B, …, C) at y and x of broadcastable shapes."""
        row, col, angle, colours = self._waves(field, y, x)
        return field.gather(row, col, "lr") + (colours * angle.sin()[..., None, :]).sum(dim=-1)

    def slopes(self, field: Field, coord: Tensor) -> Tensor:
        """As `Decoder.slopes`: the derivatives of the field of the nearest code."""
        _, _, angle, colours = self._waves(field, coord[..., 0], coord[..., 1])
        along = angle.cos()[..., None, :] * self.components  # (B, Q, 2, hidden)
        return colours.float() @ along.mT

    def _waves(self, field: Field, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return row and column of the codes nearest to y and x, of broadcastable shapes, and the
        angles (B, …, hidden) and colours (B, …, C, hidden) of their waves."""
        (row, r_y), (col, r_x) = nearest(y, field.size[0]), nearest(x, field.size[1])
        along_y, along_x = self.components.unbind(0)
        angle = (r_y[..., None] * along_y + r_x[..., None] * along_x) / 2
        colours = field.gather(row, col).unflatten(-1, (self.channels, self.hidden))
        return row, col, angle + field.gather(row, col, "phase"), colours


def mirrored(x: Tensor, side: int) -> Tensor:
    """Return x (B, C, h, w), continued by its mirror image, without the edge itself, beyond the
    lower and the right edge, to multiples of `side`."""
    for axis in (2, 3):
        n = x.shape[axis]
        if n % side:
            period = max(2 * (n - 1), 1)
            index = torch.arange(-(-n // side) * side, device=x.device) % period
            x = x.index_select(axis, torch.minimum(index, period - index))
    return x
