"""RDN without its upsampler (Zhang, Tian, Kong, Zhong, Fu: "Residual Dense Network for Image
Super-Resolution", CVPR 2018). Parameter names are those of the published weights."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Section, Width
from liif.models.encoder import Encoder
from liif.models.layers import conv

CONFIGURATIONS = {"A": (20, 6, 32), "B": (16, 8, 64)}
"""D blocks of C convolutions with growth rate G (Zhang et al. 2018, sec. 5)."""


class RdnConfig(Section):
    """Configuration of the RDN encoder: A or B, whose numbers can be replaced."""

    name: Literal["rdn"] = "rdn"
    configuration: Literal["A", "B"] = "B"
    width: Width = 64
    """Channels between the blocks, G0 in the paper."""
    blocks: Width | None = None
    """D; None for the configuration's."""
    layers: Width | None = None
    """Convolutions in a block, C; None for the configuration's."""
    growth: Width | None = None
    """Channels that each of them appends, G; None for the configuration's."""

    SMALL: ClassVar = {
        "blocks": 2,
        "layers": 2,
        "growth": 4,
        "width": 4,
    }  # a variant for fast tests

    def build(self, channels: int) -> "Rdn":
        return Rdn(self, channels)


class DenseLayer(nn.Module):
    """A convolution that appends `growth` channels to its input."""

    def __init__(self, channels_in: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv(channels_in, growth), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(x)], dim=1)


class ResidualDenseBlock(nn.Module):
    """Dense layers, local feature fusion and a residual connection (fig. 3)."""

    def __init__(self, width: int, layers: int, growth: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*[DenseLayer(width + i * growth, growth) for i in range(layers)])
        self.LFF = conv(width + layers * growth, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.LFF(self.convs(x)) + x


class Rdn(Encoder):
    """(B, C, h, w) normalised image -> (B, width, h, w) feature map."""

    def __init__(self, config: RdnConfig, channels: int = 3) -> None:
        super().__init__()
        own = config.blocks, config.layers, config.growth
        D, C, G = (
            ours or published
            for ours, published in zip(own, CONFIGURATIONS[config.configuration], strict=True)
        )
        self.width = width = config.width
        self.radius = D * C + 3
        self.peak_channels = 2 * (width + C * G) + 4 * width
        self.SFENet1 = conv(channels, width)
        self.SFENet2 = conv(width, width)
        self.RDBs = nn.ModuleList(ResidualDenseBlock(width, C, G) for _ in range(D))
        self.GFF = nn.Sequential(conv(D * width, width, 1), conv(width, width))

    def forward(self, lr: Tensor) -> Tensor:
        shallow = self.SFENet1(lr)
        x = self.SFENet2(shallow)
        # Global feature fusion is a 1×1 convolution over the concatenated outputs of all blocks:
        # summing it block by block keeps one feature map alive instead of D.
        fusion = self.GFF[0]
        assert isinstance(fusion, nn.Conv2d) and fusion.bias is not None
        fused = fusion.bias.view(1, -1, 1, 1)
        for block, weight in zip(self.RDBs, fusion.weight.split(self.width, dim=1), strict=True):
            x = block(x)
            fused = fused + F.conv2d(x, weight)
        return self.GFF[1](fused) + shallow
