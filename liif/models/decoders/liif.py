"""The local implicit image function (Chen, Liu, Wang: "Learning Continuous Image Representation
with Local Implicit Image Function", CVPR 2021, sec. 3)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Section, Widths
from liif.models.field import Field
from liif.models.geometry import corners, grid_corners
from liif.models.kernels import fused
from liif.models.layers import Mlp, after_first


class LiifConfig(Section):
    """The paper's decoder; the ablations of its table 3 switch one part off each."""

    name: Literal["liif"] = "liif"
    hidden: Widths = (256, 256, 256, 256)
    """Widths of the hidden layers; the paper's reduced depth (-d) is [256, 256]."""
    local_ensemble: bool = True
    feature_unfold: bool = True
    cell_decode: bool = True

    def build(self, width: int) -> "Liif":
        return Liif(width, self)


class Liif(nn.Module):
    """`s = f(z*, x - v*, cell)`, with f an MLP on [unfolded code, offset (y, x), cell (y, x)].

    The first layer is linear, so its share of the unfolded code is one 3×3 convolution (1×1 without
    unfolding) over the feature map, done once per image in `prepare`; a query gathers its output
    and adds the shares of offset and cell. Parameters keep the published shapes.
    """

    def __init__(self, width: int, config: LiifConfig) -> None:
        super().__init__()
        self.width = width
        self.kernel = 3 if config.feature_unfold else 1
        self.local_ensemble = config.local_ensemble
        self.radius = self.kernel // 2
        self.inputs = 4 if config.cell_decode else 2
        """Of the MLP beside the code: offset (y, x) and cell (y, x)."""
        self.mlp = Mlp(width * self.kernel**2 + self.inputs, config.hidden, 3)
        self.code_channels = self.mlp.linear[0].out_features
        self.fuse = True
        """Decode images in one kernel where a GPU can; to be switched off for comparisons."""

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """feat (B, C, h, w) -> the first layer's share of every latent code; its other weights,
        and all other layers, in the type of that."""
        k, (first, *rest) = self.kernel, self.mlp.linear
        for_code, for_offset = first.weight.split([self.width * k * k, self.inputs], dim=1)
        feat = feat.contiguous(memory_format=torch.channels_last)
        weight = for_code.unflatten(1, (self.width, k, k))
        codes = F.conv2d(feat, weight, padding=self.radius)
        layers = [(for_offset, first.bias), *((layer.weight, layer.bias) for layer in rest)]
        # A wider type would widen all that it meets, and narrow it again.
        return Field.of_map(codes, layers=tuple((w.to(codes), b.to(codes)) for w, b in layers))

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Colours (B, Q, 3), normalised, at coord (B, Q, 2) for cell (B, Q, 2) or (B, 1, 2)."""
        relative = [(cell[..., i] * field.size[i]).expand_as(coord[..., i]) for i in (0, 1)]
        (weight, bias), *rest = field.layers
        y, x = coord.unbind(-1)
        rgb = coord.new_zeros(())
        for corner in corners(y, x, field.size, ensemble=self.local_ensemble):
            inputs = [corner.offset_y, corner.offset_x, *relative][: self.inputs]
            share = F.linear(torch.stack(inputs, dim=-1).to(weight), weight, bias)
            part = after_first(field.gather(corner.row, corner.col).add_(share), rest)
            rgb = rgb + part * corner.weight[..., None]  # in float32, whatever the MLP ran in
        return rgb

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """Colours (B, R, W, 3) of rows y (R,) and columns x (W,) with one cell (1, 2); all corners
        at once."""
        weight, bias = field.layers[0]
        for axis, share in enumerate(weight.unbind(1)[2:]):
            bias = bias + share * (cell[0, axis] * field.size[axis]).to(weight)
        at = grid_corners(y, x, field.size, ensemble=self.local_ensemble)
        if self.fuse and fused.is_supported(field, len(y) * len(x), ensemble=self.local_ensemble):
            return fused.decode(field, at, bias)
        return fused.plain(field, at, bias)
