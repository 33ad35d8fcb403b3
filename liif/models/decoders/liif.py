"""The local implicit image function (Chen, Liu, Wang: "Learning Continuous Image Representation
with Local Implicit Image Function", CVPR 2021, sec. 3)."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from liif.core.section import Section, Widths
from liif.models.decoder import Decoder
from liif.models.field import Field
from liif.models.geometry import corners, grid_corners
from liif.models.kernels import fused
from liif.models.layers import Layer, Mlp, after_first

AROUND_KERNEL = 100
"""Bytes for a pixel's colours, and for the places and weights of its four corners."""


class LiifConfig(Section):
    """Configuration of the LIIF decoder; each ablation of the paper's table 3 disables a part."""

    name: Literal["liif"] = "liif"
    hidden: Widths = (256, 256, 256, 256)
    """Widths of the hidden layers; the paper's reduced depth (-d) is [256, 256]."""
    local_ensemble: bool = True
    feature_unfold: bool = True
    cell_decode: bool = True

    SMALL: ClassVar = {"hidden": (16, 12)}  # a variant for fast tests

    def build(self, width: int, channels: int) -> "Liif":
        return Liif(width, self, channels)


class Liif(Decoder):
    """`s = f(z*, x - v*, cell)`, with f an MLP on [unfolded code, offset (y, x), cell (y, x)].

    The first layer is linear, so its product with the unfolded code is one 3×3 convolution (1×1
    without unfolding) over the feature map, computed once per image in `prepare`; a query gathers
    from its output and adds the products with offset and cell. Parameters have the published
    shapes.
    """

    def __init__(self, width: int, config: LiifConfig, channels: int = 3) -> None:
        super().__init__()
        self.width = width
        self.kernel = 3 if config.feature_unfold else 1
        self.local_ensemble = config.local_ensemble
        self.radius = self.kernel // 2
        self.extra_inputs = 4 if config.cell_decode else 2
        """Inputs of the MLP besides the latent code: 2 for the offset, 2 for the cell."""
        self.mlp = Mlp(width * self.kernel**2 + self.extra_inputs, config.hidden, channels)
        self.code_channels = self.mlp.linear[0].out_features
        self.fuse = True
        """Decode images in one Triton kernel on supported GPUs; False for comparisons."""

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Apply the first layer to every latent code of feat (B, C, h, w); the field also holds its
        other weights and all further layers, in the type of the codes."""
        k = self.kernel
        for_code = self.mlp.linear[0].weight[:, : self.width * k * k]
        feat = feat.contiguous(memory_format=torch.channels_last)
        weight = for_code.unflatten(1, (self.width, k, k))
        codes = F.conv2d(feat, weight, padding=k // 2)
        return Field.of_map(codes, layers=self.field_layers(codes))

    def field_layers(self, codes: Tensor) -> tuple[Layer, ...]:
        """Return the part of the first layer that multiplies offset and cell, and all others."""
        first, *rest = self.mlp.linear
        layers = [(first.weight[:, -self.extra_inputs :], first.bias)]
        layers += [(layer.weight, layer.bias) for layer in rest]
        # Weights of a wider type would promote every operand, at the cost of two conversions.
        return tuple((weight.to(codes), bias.to(codes)) for weight, bias in layers)

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2), cell (B, Q, 2) or (B, 1, 2)."""
        relative = [(cell[..., i] * field.size[i]).expand_as(coord[..., i]) for i in (0, 1)]
        (weight, bias), *rest = field.layers
        y, x = coord.unbind(-1)
        rgb = coord.new_zeros(())
        for corner in corners(y, x, field.size, ensemble=self.local_ensemble):
            inputs = [corner.offset_y, corner.offset_x, *relative][: self.extra_inputs]
            share = F.linear(torch.stack(inputs, dim=-1).to(weight), weight, bias)
            part = after_first(field.gather(corner.row, corner.col).add_(share), rest)
            rgb = rgb + part * corner.weight[..., None]  # in float32, also after an MLP in bf16
        return rgb

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, R, W, C) of rows y (R,), columns x (W,), a cell (1, 2)."""
        weight, bias = field.layers[0]
        for axis, share in enumerate(weight.unbind(1)[2:]):
            bias = bias + share * (cell[0, axis] * field.size[axis]).to(weight)
        at = grid_corners(y, x, field.size, ensemble=self.local_ensemble)
        launch = self._launch(field, len(y) * len(x))
        if launch is not None:
            return fused.decode(field, at, bias, launch)
        return fused.plain(field, at, bias)

    def pixel_bytes(self, field: Field) -> int:
        """As `Decoder.pixel_bytes`: with the kernel, colours and weights only; without it, also the
        output of the first layer and the input and output of another, for each corner."""
        if self._launch(field, 1) is not None:
            return AROUND_KERNEL
        corners = 4 if self.local_ensemble else 1
        widest = max(len(bias) for _, bias in field.layers)
        return AROUND_KERNEL + 3 * corners * widest * field.codes.element_size()

    def _launch(self, field: Field, pixels: int) -> fused.Launch | None:
        """Return how so many pixels of this field are decoded in one kernel, if they are."""
        if not self.fuse:
            return None
        return fused.launch_for(field, pixels, ensemble=self.local_ensemble)
