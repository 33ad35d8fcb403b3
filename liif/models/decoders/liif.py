"""The local implicit image function (Chen, Liu, Wang: "Learning Continuous Image Representation
with Local Implicit Image Function", CVPR 2021, sec. 3)."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.geometry import Corner, Field, corners
from liif.models.layers import Mlp
from liif.section import Section, Widths


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
    """s = f(z*, x - v*, cell), with f an MLP on [unfolded code, offset (y, x), cell (y, x)].

    The first layer is linear, so its share of the unfolded code is one 3×3 convolution (1×1 without
    unfolding) over the feature map, done once per image in `prepare`; a query gathers its output
    and adds the shares of offset and cell. Parameters keep the published shapes.
    """

    def __init__(self, width: int, config: LiifConfig) -> None:
        super().__init__()
        self.width = width
        self.kernel = 3 if config.feature_unfold else 1
        self.local_ensemble = config.local_ensemble
        self.cell_decode = config.cell_decode
        self.radius = self.kernel // 2
        channels_in = width * self.kernel**2 + 2 + (2 if config.cell_decode else 0)
        self.mlp = Mlp(channels_in, config.hidden, 3)
        self.code_channels = self.mlp.first.out_features

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """feat (B, C, h, w) -> the first layer's share of every latent code."""
        k = self.kernel
        weight = self.mlp.first.weight[:, : self.width * k * k].unflatten(1, (self.width, k, k))
        feat = feat.contiguous(memory_format=torch.channels_last)
        return Field.of_map(F.conv2d(feat, weight, padding=self.radius))

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Colours (B, Q, 3), normalised, at coord (B, Q, 2) for cell (B, Q, 2) or (B, 1, 2)."""
        relative = (cell * cell.new_tensor(field.size)).expand_as(coord).unbind(-1)
        weight, bias = self._weight_of_offsets(field), self.mlp.first.bias.to(field.codes)

        def first_layer(corner: Corner) -> Tensor:
            inputs = [corner.offset_y, corner.offset_x, *(relative if self.cell_decode else [])]
            share = F.linear(torch.stack(inputs, dim=-1).to(weight), weight, bias)
            return field.gather(corner.row, corner.col).add_(share)

        return self._ensemble(field, coord[..., 0], coord[..., 1], first_layer)

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """Colours (B, R, W, 3) of rows y (R,) and columns x (W,) with one cell (1, 2)."""
        by_y, by_x, *by_cell = self._weight_of_offsets(field).unbind(1)
        along_cell = (cell * cell.new_tensor(field.size)).to(by_y)
        shared = self.mlp.first.bias.to(field.codes)
        for share, number in zip(by_cell, along_cell[0], strict=False):
            shared = shared + share * number

        def first_layer(corner: Corner) -> Tensor:
            row, offset_y = corner.row.flatten(), corner.offset_y.flatten()
            col, offset_x = corner.col.flatten(), corner.offset_x.flatten()
            along_y = offset_y[:, None].to(by_y) * by_y + shared
            return field.gather_grid(row, col, along_y, offset_x[:, None].to(by_x) * by_x)

        return self._ensemble(field, y.view(1, -1, 1), x.view(1, 1, -1), first_layer)

    def _weight_of_offsets(self, field: Field) -> Tensor:
        """The first layer's weight of offset (y, x) and cell (y, x), (hidden[0], 4 or 2), in the
        type of the codes: a wider one would widen all that it is added to."""
        return self.mlp.first.weight[:, self.width * self.kernel**2 :].to(field.codes)

    def _ensemble(
        self, field: Field, y: Tensor, x: Tensor, first_layer: Callable[[Corner], Tensor]
    ) -> Tensor:
        """The weighted sum of the corners' predictions at y, x."""
        after_first = self.mlp.after_first(field.codes.dtype)
        rgb = None
        for corner in corners(y, x, field.size, ensemble=self.local_ensemble):
            part = after_first(first_layer(corner))
            if corner.weight is not None:
                part = part * corner.weight[..., None]  # in float32, whatever the MLP ran in
            rgb = part if rgb is None else rgb + part
        assert rgb is not None
        return rgb
