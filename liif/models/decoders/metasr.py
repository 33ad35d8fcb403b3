"""Meta-SR (Hu, Mu, Zhang, Wang, Sun, Tan: "Meta-SR: A Magnification-Arbitrary Network for Super-
Resolution", CVPR 2019) in the formulation of the LIIF authors, the baseline of their table 1.

A small MLP maps the offset from the *corner* of a code's pixel, and the cell, to the weights of a
linear map from the unfolded code to the colour.
"""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from liif.core.section import Section, Width
from liif.models.decoder import Decoder
from liif.models.field import Field
from liif.models.geometry import EDGE, nearest
from liif.models.layers import Mlp


class MetaSrConfig(Section):
    """Configuration of the Meta-SR decoder."""

    name: Literal["metasr"] = "metasr"
    hidden: Width = 256
    """Width of the weight-predicting MLP's hidden layer."""

    SMALL: ClassVar = {"hidden": 16}  # a variant for fast tests

    def build(self, width: int, channels: int) -> "MetaSr":
        return MetaSr(width, self, channels)


class MetaSr(Decoder):
    """rgb = code · (M·a + b), a = relu(first layer): both products are linear in the code, so they
    are computed once per image in `prepare` by a convolution to hidden + 1 channels a colour."""

    radius, block = 1, 64

    def __init__(self, width: int, config: MetaSrConfig, channels: int = 3) -> None:
        super().__init__()
        self.width = width
        self.channels = channels
        self.hidden = config.hidden
        self.mlp = Mlp(3, [config.hidden], width * 9 * channels)
        self.code_channels = channels * (config.hidden + 1)

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Multiply every code of feat (B, C, h, w) by M and b, for each colour."""
        last = self.mlp.linear[1]
        # Rows of the last layer are (channel, kernel row, kernel column, colour).
        joined = torch.cat([last.weight, last.bias[:, None]], dim=1)
        weight = joined.view(self.width, 3, 3, -1).permute(3, 0, 1, 2)
        feat = feat.contiguous(memory_format=torch.channels_last)
        return Field.of_map(F.conv2d(feat, weight.contiguous(), padding=1))

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2), cell (B, Q, 2) or (B, 1, 2)."""
        return self._decode(field, coord[..., 0], coord[..., 1], cell)

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, R, W, C) of rows y (R,), columns x (W,), a cell (1, 2)."""
        return self._decode(field, y.view(1, -1, 1), x.view(1, 1, -1), cell[:, None])

    def _decode(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        h, w = field.size
        row, offset_y = self._corner(y - cell[..., 0] / 2, h)
        col, offset_x = self._corner(x - cell[..., 1] / 2, w)
        inverse_scale = cell[..., 0] * (h / 2)
        inputs = torch.stack(torch.broadcast_tensors(offset_y, offset_x, inverse_scale), dim=-1)
        hidden = F.relu(self.mlp.linear[0](inputs.to(field.codes.dtype)))
        codes = field.gather(row, col).unflatten(-1, (self.channels, self.hidden + 1))
        return (codes[..., :-1] @ hidden[..., None]).squeeze(-1) + codes[..., -1]

    @staticmethod
    def _corner(corner: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Return the index of the code whose pixel contains the first corner of the queried cell,
        and that corner's offset from the pixel's first corner, in low-resolution pixels."""
        index = nearest(corner + EDGE, n).at
        first_corners = torch.arange(n, device=corner.device).to(corner.dtype) * (2 / n) - 1
        return index, (corner - first_corners[index]) * (n / 2)
