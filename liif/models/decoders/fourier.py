"""Codes that are coefficients of waves: no network runs for an output pixel.

`ope` is the decoder of Song, Sun, Zhang, Su, Shi, He: "OPE-SR: Orthogonal Position Encoding for
Designing a Parameter-free Upsampling Module in Arbitrary-scale Image Super-Resolution", CVPR 2023.
`fourier` is a design of this package in the spirit of Shad and Khoshnevis: "GB-LSR: A Fast Local
Spectral Image Representation with a Single Global Bandwidth", 2026: one grid of frequencies for all
codes, whose spacing is learned, no ensemble, and the interpolated image.
"""

import math
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from liif.core.errors import UserError
from liif.core.section import Section
from liif.models.decoder import BLOCK_BYTES, Decoder
from liif.models.field import Field, bicubic_taps, bilinear_taps, interpolate
from liif.models.geometry import corners, nearest
from liif.models.layers import conv, dense
from liif.models.repeated import interpolation, repeated_axes, repeated_sum
from liif.models.separable import Along, interpolate_grid, separable

Waves = Annotated[int, pydantic.Field(gt=0, le=32)]


class FourierConfig(Section):
    """Configuration of the Fourier decoder."""

    name: Literal["fourier"] = "fourier"
    waves: Waves = 3
    """Frequencies along each axis, besides zero."""
    kernel: Literal["bilinear", "bicubic"] = "bilinear"
    """Interpolation of the image that the waves are added to; bicubic is Keys' (1981), as of MATLAB
    and Pillow."""
    head: Literal[1, 3] = 3
    """Side of the convolution that makes the coefficients. With 1 it begins at a tenth of the usual
    size, close to the interpolated image: a short training ends 0.2 dB higher."""
    cell: bool = False
    """Whether the cell changes how strong each wave is."""

    SMALL: ClassVar = {
        "waves": 1,
        "kernel": "bicubic",
        "head": 1,
        "cell": True,
    }  # a variant for fast tests

    def build(self, width: int, channels: int) -> "Fourier":
        return Fourier(width, self, channels)


class OpeConfig(Section):
    """Configuration of the OPE-SR decoder."""

    name: Literal["ope"] = "ope"
    waves: Waves = 3
    """Frequencies along each axis, besides zero."""
    adapt: bool = True
    """Whether a convolution makes the coefficients; otherwise they are the encoder's features, of
    which there must be (2 · waves + 1)² for each colour."""

    SMALL: ClassVar = {"waves": 1, "adapt": True}  # a variant for fast tests

    def build(self, width: int, channels: int) -> "Ope":
        return Ope(width, self, channels)


class Waved(Decoder):
    """Σ coefficient_ij · basis_i(y) · basis_j(x), with the basis [1, √2 cos kωr, √2 sin kωr, …] of
    the offset r from the code in half-pixels, k = 1 … waves."""

    radius, block = 1, 128
    ensemble: bool

    def __init__(self, waves: int, channels: int) -> None:
        super().__init__()
        self.waves, self.channels = waves, channels
        self.code_channels = channels * (2 * waves + 1) ** 2 + channels

    def pixel_bytes(self, field: Field) -> int:
        """As `Decoder.pixel_bytes`, where the grid is a dense product with all cells of a block."""
        return BLOCK_BYTES // 128**2

    def waved(self, field: Field, coord: Tensor, spacing: Tensor) -> Tensor:
        """Return what the codes give (B, Q, C) at coord (B, Q, 2); `spacing` is ω."""
        y, x = coord.unbind(-1)
        rgb = torch.zeros((), device=coord.device)
        for corner in corners(y, x, field.size, ensemble=self.ensemble):
            along_y, along_x = (
                basis(offset * spacing, self.waves) for offset in (corner.offset_y, corner.offset_x)
            )
            products = (along_y[..., :, None] * along_x[..., None, :]).flatten(-2)
            code = field.gather(corner.row, corner.col).unflatten(-1, (self.channels, -1))
            rgb = rgb + (code * products[..., None, :]).sum(dim=-1) * corner.weight[..., None]
        return rgb


class Fourier(Waved):
    """rgb = interpolated image + Σ gain_i(c_y) · gain_j(c_x) · coefficient_ij · basis_i(y) ·
    basis_j(x), the waves of the nearest code.

    A pixel of the result is a mean over its cell, c low-resolution pixels high and wide, which
    weakens a wave the more the higher its frequency is. Under `cell` the gain is learned, 1 + a_i d
    + b_i d² with d = c - ½: as published for heat fields (Becker et al. 2023, Thera), but for any
    law; else it is 1.
    """

    ensemble, block = False, 256

    def __init__(self, width: int, config: FourierConfig, channels: int = 3) -> None:
        super().__init__(config.waves, channels)
        is_bicubic = config.kernel == "bicubic"
        self.taps, self.reach = (bicubic_taps, 2) if is_bicubic else (bilinear_taps, 1)
        count = 2 * config.waves + 1
        self.coef = conv(width, channels * count**2, config.head)
        self.radius = config.head // 2
        if config.head == 1 and self.coef.bias is not None:
            with torch.no_grad():
                self.coef.weight.mul_(0.1)
                self.coef.bias.zero_()
        self.spacing = nn.Parameter(torch.tensor(math.pi / 2))
        self.gain = nn.Parameter(torch.zeros(2, count)) if config.cell else None

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute coefficients, the codes, of feat (B, C, h, w), and keep lr."""
        if self.radius:
            return Field.of_map(self.coef(feat), maps={"lr": lr})
        assert self.coef.bias is not None
        weight, bias = self.coef.weight.flatten(1).to(feat.dtype), self.coef.bias.to(feat.dtype)
        # PyTorch's convolutions of 1×1 are slow here in training.
        codes = dense(feat.permute(0, 2, 3, 1), weight, bias, relu=False)
        field = Field.of_map(lr)
        return replace(field, codes=codes, maps={"lr": field.codes})

    def bind(self, field: Field, cell: Tensor) -> Field:
        """Multiply the coefficients by the gains for a cell (B, 2)."""
        if self.gain is None:
            return field
        sides = [cell[:, axis, None] * (field.size[axis] / 2) - 0.5 for axis in (0, 1)]
        along_y, along_x = (1 + d * self.gain[0] + d.square() * self.gain[1] for d in sides)
        gain = (along_y[:, :, None] * along_x[:, None, :]).flatten(1)  # (B, (2 · waves + 1)²)
        gain = gain.repeat(1, self.channels)[:, None, None]
        return replace(field, codes=field.codes * gain.to(field.codes))

    @property
    def has_bind(self) -> bool:
        """Whether `bind` does anything."""
        return self.gain is not None

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2)."""
        waves = self.waved(field, coord, self.spacing)
        return waves + interpolate(field, coord[..., 0], coord[..., 1], self.taps)

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """As `query` for a grid: the waves are products of one along y and one along x."""
        if axes := repeated_axes(field, y, x):
            of_rows, of_cols = (
                basis(axis.offsets * self.spacing, self.waves).T for axis in axes
            )  # (2 · waves + 1, p) and (2 · waves + 1, q)
            functions = (of_rows[:, None, :, None] * of_cols[:, None]).flatten(0, 1)
            codes = field.codes[:, axes[0].cells, axes[1].cells].unflatten(-1, (self.channels, -1))
            image = interpolation(field, axes, self.taps)
            return repeated_sum(axes, [(codes, functions), image])

        def along(coord: Tensor, axis: int) -> Along:
            code = nearest(coord, field.size[axis])
            values = basis(code.offset * self.spacing, self.waves)
            return Along(field.local(code.at, axis)[None], values[None])

        waves = separable(field.codes, along(y, 0), along(x, 1))
        return waves + interpolate_grid(field, y, x, self.taps)


class Ope(Waved):
    """rgb = the waves of four codes, blended by the local ensemble (eq. 5 to 9)."""

    ensemble = True

    def __init__(self, width: int, config: OpeConfig, channels: int = 3) -> None:
        super().__init__(config.waves, channels)
        count = channels * (2 * config.waves + 1) ** 2
        if not config.adapt and width != count:
            needed = f"an encoder of width {count}, not {width}"
            raise UserError(f"model.decoder: adapt: false needs {needed}; set adapt: true")
        self.coef = conv(width, count) if config.adapt else nn.Identity()

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute coefficients, the codes, of feat (B, C, h, w)."""
        return Field.of_map(self.coef(feat))

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2); the cell is not used."""
        return self.waved(field, coord, coord.new_full((), math.pi / 2))


def basis(angle: Tensor, waves: int) -> Tensor:
    """Return [1, √2 cos a, √2 sin a, √2 cos 2a, …] (…, 2 · waves + 1) of angles a."""
    angles = angle[..., None] * (torch.arange(waves, device=angle.device) + 1)
    pairs = torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(-2) * math.sqrt(2)
    return torch.cat([torch.ones_like(angle)[..., None], pairs], dim=-1)
