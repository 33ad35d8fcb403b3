"""Latent modulated functions (He, Jin: "Latent Modulated Function for Computational Optimal
Continuous Image Representation", CVPR 2024): the wide network runs once for each low-resolution
pixel and output size, and modulates a narrow one, which runs for each output pixel."""

from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Section, Width, Widths
from liif.models.decoder import BLOCK_BYTES, Decoder
from liif.models.decoders.lte import frequencies, relative, waves_at
from liif.models.field import Field, bilinear
from liif.models.geometry import corners
from liif.models.grouped import ensemble_by_code
from liif.models.layers import Mlp, conv, dense
from liif.models.separable import bilinear_grid


class LmLiifConfig(Section):
    """Configuration of the LM-LIIF decoder."""

    name: Literal["lm-liif"] = "lm-liif"
    width: Width = 16
    """Channels of the narrow network, and of the code that it is given."""
    depth: Width = 6
    """Modulated layers of the narrow network."""
    hidden: Widths = (208,)
    """Widths of the hidden layers of the network that makes the modulations."""

    SMALL: ClassVar = {"width": 6, "depth": 2, "hidden": (20,)}  # a variant for fast tests

    def build(self, width: int, channels: int) -> "LmLiif":
        return LmLiif(width, self, channels)


class LmLteConfig(Section):
    """Configuration of the LM-LTE decoder."""

    name: Literal["lm-lte"] = "lm-lte"
    width: Width = 16
    """Channels of the narrow network, which is given width / 2 waves."""
    depth: Width = 8
    """Modulated layers of the narrow network."""
    hidden: Widths = (288,)
    """Widths of the hidden layers of the network that makes the modulations."""
    waves: Width = 64
    """Pairs of frequencies that the wide network is given."""

    SMALL: ClassVar = {"width": 6, "depth": 2, "hidden": (20,), "waves": 5}

    def build(self, width: int, channels: int) -> "LmLte":
        return LmLte(width, self, channels)


class Modulated(Decoder):
    """What both decoders share. A bound code is [scales, shifts, code], with a scale and a shift
    for each channel of each layer. With a map "lr" the colours are added to the bilinear image."""

    block = 128
    hypernet: Mlp
    imnet: Mlp

    def pixel_bytes(self, field: Field) -> int:
        """As `Decoder.pixel_bytes`: on a GPU every pixel has modulations of its own."""
        return BLOCK_BYTES // 96**2

    def inputs(self, code: Tensor, y: Tensor, x: Tensor, field: Field, cell: Tensor) -> Tensor:
        """Return the narrow network's input (…, width_in) for codes (…, K) at offsets y and x
        (…, 1), all of broadcastable shapes."""
        raise NotImplementedError

    def first(
        self, code: Tensor, y: Tensor, x: Tensor, field: Field, cell: Tensor,
        weight: Tensor, shift: Tensor,
    ) -> Tensor:  # fmt: skip
        """Return the narrow network's first layer (B, n, m, p, q, width), with a weight
        (B·n·m, width_in, width) and a shift (B·n·m, 1, width) for each code (B, n, m, 1, 1, K)."""
        value = self.inputs(code, y, x, field, cell[:, None])
        rows = value.flatten(3, 4).flatten(0, 2)  # (codes, pixels of a code, width_in)
        return torch.baddbmm(shift, rows, weight).view(*value.shape[:-1], -1)

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2), cell (B, Q, 2) or (B, 1, 2)."""
        y, x = coord.unbind(-1)
        *hidden, last = self.imnet.linear
        count = len(hidden) * hidden[0].out_features
        rgb = bilinear(field, y, x) if "lr" in field.maps else torch.zeros((), device=coord.device)
        for corner in corners(y, x, field.size, ensemble=True):
            code = field.gather(corner.row, corner.col)
            scales, shifts, rest = code.split([count, count, code.shape[-1] - 2 * count], dim=-1)
            offsets = corner.offset_y[..., None], corner.offset_x[..., None]
            value = self.inputs(rest, *offsets, field, cell)
            numbers = (part.chunk(len(hidden), dim=-1) for part in (scales, shifts))
            for layer, scale, shift in zip(hidden, *numbers, strict=True):
                value = torch.addcmul(shift, layer(value), scale + 1).relu()
            rgb = rgb + last(value) * corner.weight[..., None]
        return rgb

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """As `query` for a grid. On a CPU the modulations of a code are multiplied with the weights
        of the layers, once for all of its pixels."""
        if field.codes.device.type != "cpu":
            return super().query_grid(field, y, x, cell)
        *hidden, last = self.imnet.linear
        count = len(hidden) * hidden[0].out_features

        def colours(code: Tensor, y: Tensor, x: Tensor) -> Tensor:
            scales, shifts, rest = code.split([count, count, code.shape[-1] - 2 * count], dim=-1)
            scales, shifts = (
                part.reshape(-1, len(hidden), 1, hidden[0].out_features)
                for part in (scales + 1, shifts)
            )
            biases = torch.stack([layer.bias for layer in hidden])[:, None]
            shifts = torch.addcmul(shifts, scales, biases.to(code))
            first = hidden[0].weight.T.to(code) * scales[:, 0]
            others = torch.stack([layer.weight.T for layer in hidden[1:]]).to(code) * scales[:, 1:]
            value = self.first(rest, y, x, field, cell, first, shifts[:, 0]).relu_()
            shape = value.shape[:-1]
            value = value.flatten(3, 4).flatten(0, 2)  # (codes, pixels of a code, width)
            for i in range(len(hidden) - 1):
                value = torch.baddbmm(shifts[:, 1 + i], value, others[:, i]).relu_()
            layer = last.weight.to(value), last.bias.to(value)
            return dense(value, *layer, relu=False).view(*shape, -1)

        rgb = ensemble_by_code(field, y, x, colours)
        return rgb + bilinear_grid(field, y, x) if "lr" in field.maps else rgb


class LmLiif(Modulated):
    """The narrow network is given a code, the offset from it and the cell (eq. 4 to 8)."""

    radius = 1

    def __init__(self, width: int, config: LmLiifConfig, channels: int = 3) -> None:
        super().__init__()
        self.width = width
        numbers = config.width * (2 * config.depth + 1)
        self.hypernet = Mlp(9 * width + 2, config.hidden, numbers)
        self.imnet = Mlp(config.width + 4, [config.width] * config.depth, channels)
        self.code_channels = 2 * numbers

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Multiply the unfolded features of feat (B, C, h, w) by the first layer: a convolution."""
        weight = self.hypernet.linear[0].weight[:, :-2].unflatten(1, (self.width, 3, 3))
        feat = feat.contiguous(memory_format=torch.channels_last)
        return Field.of_map(F.conv2d(feat, weight, padding=1))

    def bind(self, field: Field, cell: Tensor) -> Field:
        """Finish the modulations for a cell (B, 2)."""
        first, *rest = self.hypernet.linear
        share = F.linear(relative(cell, field), first.weight[:, -2:], first.bias)
        value = field.codes + share[:, None, None].to(field.codes)
        for layer in rest:
            value = layer(value.relu())
        return replace(field, codes=value)

    def inputs(self, code: Tensor, y: Tensor, x: Tensor, field: Field, cell: Tensor) -> Tensor:
        parts = [code, y.to(code), x.to(code), relative(cell, field).to(code)]
        shape = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        return torch.cat([part.expand(*shape, -1) for part in parts], dim=-1)

    def first(
        self, code: Tensor, y: Tensor, x: Tensor, field: Field, cell: Tensor,
        weight: Tensor, shift: Tensor,
    ) -> Tensor:  # fmt: skip
        """As `Modulated.first`: code and cell are the same for all pixels of a code."""
        of_code, along_y, along_x, of_cell = weight.split([code.shape[-1], 1, 1, 2], dim=1)
        shape = (*code.shape[:-1], -1)
        same = torch.baddbmm(shift, code.flatten(0, 4)[:, None], of_code)
        same = same + relative(cell, field).to(code) @ of_cell
        of_row = same.view(shape) + y.to(code) * along_y.reshape(shape)
        return of_row + x.to(code) * along_x.reshape(shape)


class LmLte(Modulated):
    """The narrow network is given waves with amplitudes and frequencies of the code, and adds to
    the bilinear image."""

    radius = 1

    def __init__(self, width: int, config: LmLteConfig, channels: int = 3) -> None:
        super().__init__()
        self.coef, self.freq = conv(width, 2 * config.waves), conv(width, 2 * config.waves)
        self.phase = nn.Linear(2, config.waves, bias=False)
        numbers = config.width * (2 * config.depth + 2)
        self.hypernet = Mlp(2 * config.waves, config.hidden, numbers)
        self.imphase = nn.Linear(2, config.width // 2, bias=False)
        self.imnet = Mlp(config.width, [config.width] * config.depth, channels)
        self.code_channels = 2 * numbers + 6 * config.waves

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute amplitudes and frequencies of feat (B, C, h, w), and keep lr."""
        feat = feat.contiguous(memory_format=torch.channels_last)
        maps = {"frequency": frequencies(self.freq, feat), "lr": lr}
        return Field.of_map(self.coef(feat), maps=maps)

    def bind(self, field: Field, cell: Tensor) -> Field:
        """Compute modulations, amplitudes and frequencies for a cell (B, 2)."""
        phase = F.linear(relative(cell, field), self.phase.weight)[:, None, None]
        frequency = field.maps["frequency"]
        one = frequency.new_ones(())
        value = field.codes * waves_at(frequency, one, one, phase).to(field.codes)
        codes = self.hypernet(value)
        return replace(field, codes=codes, maps={"lr": field.maps["lr"]})

    def inputs(self, code: Tensor, y: Tensor, x: Tensor, field: Field, cell: Tensor) -> Tensor:
        amplitude, frequency = code.float().chunk(2, dim=-1)
        pairs = torch.cat([frequency[..., 0::2], frequency[..., 1::2]], dim=-1)
        phase = F.linear(relative(cell, field), self.imphase.weight.float())
        return (amplitude * waves_at(pairs, y, x, phase)).to(code)
