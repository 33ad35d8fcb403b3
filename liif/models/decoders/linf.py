"""Local implicit normalizing flows (Yao, Tsao, Lo, Tseng, Chang, Lee: "Local Implicit Normalizing
Flow for Arbitrary-Scale Image Super-Resolution", CVPR 2023), for single pixels."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Section, Width, Widths
from liif.models.decoder import Decoder
from liif.models.decoders.lte import frequencies, relative, waves_at
from liif.models.field import Field, bilinear
from liif.models.geometry import corners
from liif.models.layers import Layer, Mlp, after_first, conv, dense
from liif.models.precision import float64_device


class LinfConfig(Section):
    """Configuration of the LINF decoder."""

    name: Literal["linf"] = "linf"
    hidden: Widths = (256, 256, 256)
    """Widths of the hidden layers of the MLP that predicts the flow's scales and shifts."""
    waves: Width = 128
    """Pairs of frequencies; each has a cosine and a sine with amplitudes of their own."""
    steps: Width = 10
    """Steps of the flow."""
    temperature: float = pydantic.Field(default=0, ge=0)
    """Standard deviation of the noise that the flow turns into colours; 0 for the most likely
    ones."""
    seed: int = pydantic.Field(default=0, ge=0, lt=2**32)
    """Seed of the noise: the same pixel of a result always gets the same noise."""

    gives: ClassVar = "log_likelihood"
    SMALL: ClassVar = {"hidden": (16, 12), "waves": 6, "steps": 2}  # a variant for fast tests

    def build(self, width: int, channels: int) -> "Linf":
        return Linf(width, self, channels)


class Linf(Decoder):
    """rgb = bilinear image + the inverse flow of noise z, z = 0 by default. Each step of the flow
    scales and shifts the colour by numbers that an MLP predicts from the area-weighted waves of the
    four codes (sec. 3.3)."""

    radius = 1

    def __init__(self, width: int, config: LinfConfig, channels: int = 3) -> None:
        super().__init__()
        self.channels, self.steps = channels, config.steps
        self.temperature, self.seed = config.temperature, config.seed
        self.coef, self.freq = conv(width, 2 * config.waves), conv(width, 2 * config.waves)
        self.phase = nn.Linear(2, config.waves, bias=False)
        self.mlp = Mlp(8 * config.waves, config.hidden, 2 * channels * config.steps)
        self.flow = nn.ModuleList(nn.Linear(channels, channels) for _ in range(config.steps + 1))
        for step in self.linear:  # near the identity: the inverses of all of them are multiplied
            if not step.weight.is_meta:  # there, this would import PyTorch's compiler, for seconds
                step.weight.data.mul_(0.05).add_(torch.eye(channels))
        self.code_channels = 4 * config.waves + channels

    @property
    def linear(self) -> list[nn.Linear]:
        """The linear maps of the flow's steps, and the last one."""
        return [step for step in self.flow if isinstance(step, nn.Linear)]

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute amplitudes, the codes, and frequencies of feat (B, C, h, w), and keep lr."""
        feat = feat.contiguous(memory_format=torch.channels_last)
        codes = self.coef(feat)
        maps = {"frequency": frequencies(self.freq, feat), "lr": lr}
        return Field.of_map(codes, layers=self.field_layers(codes), maps=maps)

    def field_layers(self, codes: Tensor) -> tuple[Layer, ...]:
        """Return all layers of the MLP, and in float32 (inverse, bias) of each step of the flow."""
        mlp = [(each.weight.to(codes), each.bias.to(codes)) for each in self.mlp.linear]
        with torch.autocast(codes.device.type, enabled=False):
            # Not `inv`, for which the host waits: it asks whether there is an inverse.
            inverses = [torch.linalg.inv_ex(step.weight.float())[0] for step in self.linear]
            flow = [(i, step.bias.float()) for i, step in zip(inverses, self.linear, strict=True)]
        return tuple(mlp + flow)

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2), cell (B, Q, 2) or (B, 1, 2)."""
        linear = field.layers[len(self.mlp.linear) :]
        rgb = inverse_flow(self.noise(coord, cell), self.flow_numbers(field, coord, cell), linear)
        return rgb + bilinear(field, coord[..., 0], coord[..., 1])

    def log_likelihood(self, field: Field, coord: Tensor, cell: Tensor, target: Tensor) -> Tensor:
        """Return the logarithm of the density (B, Q) of normalised colours `target` (B, Q, C): that
        of the noise that the flow makes of them, and of the flow's volume (sec. 3.1)."""
        details = target - bilinear(field, coord[..., 0], coord[..., 1])
        linear = [(step.weight.float(), step.bias.float()) for step in self.linear]
        noise, volume = forward_flow(details, self.flow_numbers(field, coord, cell), linear)
        normal = -0.5 * (noise**2 + math.log(2 * math.pi)).sum(dim=-1)
        return normal + volume

    def flow_numbers(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return the numbers of all steps of the flow, (B, Q, steps · 2C), in float32."""
        y, x = coord.unbind(-1)
        count = len(self.mlp.linear)
        (weight, bias), *rest = field.layers[:count]
        phase = F.linear(relative(cell, field), self.phase.weight.float())
        inputs = list[Tensor]()
        for corner in corners(y, x, field.size, ensemble=True):
            offsets = corner.offset_y[..., None], corner.offset_x[..., None]
            waves = waves_at(field.gather(corner.row, corner.col, "frequency"), *offsets, phase)
            amplitude = field.gather(corner.row, corner.col)
            inputs.append(amplitude * (waves * corner.weight[..., None]).to(amplitude))
        hidden = dense(torch.cat(inputs, -1), weight, bias, relu=False)
        return after_first(hidden, rest).float()

    def noise(self, coord: Tensor, cell: Tensor) -> Tensor:
        """Return the noise (B, Q, C) of temperature, zero for temperature 0."""
        if self.temperature == 0:
            return coord.new_zeros(self.channels).expand(*coord.shape[:-1], -1)
        # The pixel's row and column in the result, which do not depend on tiles or padding.
        pixel = ((coord + 1) / cell).floor().long()
        return self.temperature * pixel_noise(pixel, self.channels, self.seed)


def inverse_flow(x: Tensor, numbers: Tensor, linear: tuple[Layer, ...]) -> Tensor:
    """Return the colours (…, C) that the flow maps to x: numbers (…, steps · 2C) are the logits of
    scales and the shifts of each step, `linear` (inverse, bias) of each step and a last one."""
    steps = numbers.unflatten(-1, (len(linear) - 1, 2, -1))
    with torch.autocast(x.device.type, enabled=False):
        for i in range(len(linear) - 1, -1, -1):
            inverse, bias = linear[i]
            if i < len(linear) - 1:
                logit, shift = steps[..., i, 0, :], steps[..., i, 1, :]
                x = (x - shift) / (torch.sigmoid(logit + 2) + 1e-4)
            x = F.linear(x - bias, inverse)
    return x


def forward_flow(x: Tensor, numbers: Tensor, linear: Sequence[Layer]) -> tuple[Tensor, Tensor]:
    """Return the noise (…, C) that the flow maps colours x to, and the logarithm of its volume (…),
    the determinant's absolute value: the inverse of `inverse_flow`, with (weight, bias) of each
    step and a last one."""
    steps = numbers.unflatten(-1, (len(linear) - 1, 2, -1))
    with torch.autocast(x.device.type, enabled=False):
        volume = torch.stack([torch.linalg.slogdet(weight)[1] for weight, _ in linear]).sum()
        volume = volume.expand(x.shape[:-1])
        for i, (weight, bias) in enumerate(linear):
            x = F.linear(x, weight) + bias
            if i < len(linear) - 1:
                scale = torch.sigmoid(steps[..., i, 0, :] + 2) + 1e-4
                x = x * scale + steps[..., i, 1, :]
                volume = volume + scale.log().sum(dim=-1)
    return x, volume


def pixel_noise(pixel: Tensor, channels: int, seed: int) -> Tensor:
    """Return standard normal numbers (…, channels), a function of pixel (…, 2), integers, and seed
    only: any part of an image gets the noise that the whole image has there."""
    row, col = pixel.unbind(-1)
    key = _mixed(_mixed(_mixed(torch.full_like(row, seed)) ^ row) ^ col)
    number = torch.arange(2 * channels, device=pixel.device) + 1
    bits = _mixed(_mixed(key[..., None] ^ number) + number)
    uniform = ((bits >> 8).to(float64_device(bits.device), torch.float64) + 0.5) / 2**24
    radius, angle = uniform.chunk(2, dim=-1)
    return ((-2 * radius.log()).sqrt() * (2 * torch.pi * angle).cos()).float().to(bits.device)


def _mixed(x: Tensor) -> Tensor:
    """Return a hash of 32 bits of each integer: a bijection (multipliers by C. Wellons)."""
    mask = 0xFFFFFFFF
    x = x & mask
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & mask
    x = ((x ^ (x >> 15)) * 0x846CA68B) & mask
    return x ^ (x >> 16)
