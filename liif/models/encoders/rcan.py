"""RCAN without its upsampler (Zhang, Li, Li, Wang, Zhong, Fu: "Image Super-Resolution Using Very
Deep Residual Channel Attention Networks", ECCV 2018). Parameter names are those of the published
weights."""

from typing import ClassVar, Literal

from torch import Tensor, nn

from liif.core.section import Section, Width
from liif.models.encoder import Encoder
from liif.models.layers import conv


class RcanConfig(Section):
    """Configuration of the RCAN encoder."""

    name: Literal["rcan"] = "rcan"
    groups: Width = 10
    blocks: Width = 20
    """Blocks of a group."""
    width: Width = 64
    """Channels of every feature map."""
    reduction: Width = 16
    """Channels of a feature map over those between the layers of the channel attention."""

    SMALL: ClassVar = {"groups": 1, "blocks": 2, "width": 8, "reduction": 2}

    def build(self, channels: int) -> "Rcan":
        return Rcan(self, channels)


class ChannelAttention(nn.Module):
    """x · sigmoid(f(mean of x over the image)), a factor for each channel (eq. 5 to 8)."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        inner = max(width // reduction, 1)
        layers = [conv(width, inner, 1), nn.ReLU(inplace=True), conv(inner, width, 1), nn.Sigmoid()]
        self.conv_du = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv_du(x.mean(dim=(2, 3), keepdim=True))


class RcanBlock(nn.Module):
    """Two convolutions and channel attention, added to their input."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        layers = [conv(width, width), nn.ReLU(inplace=True), conv(width, width)]
        self.body = nn.Sequential(*layers, ChannelAttention(width, reduction))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + x


class RcanGroup(nn.Module):
    """Blocks and a convolution, added to their input."""

    def __init__(self, config: RcanConfig) -> None:
        super().__init__()
        blocks = [RcanBlock(config.width, config.reduction) for _ in range(config.blocks)]
        self.body = nn.Sequential(*blocks, conv(config.width, config.width))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + x


class Rcan(Encoder):
    """(B, C, h, w) normalised image -> (B, width, h, w) feature map."""

    radius = None  # the channel attention takes means over the image

    def __init__(self, config: RcanConfig, channels: int = 3) -> None:
        super().__init__()
        self.width = config.width
        self.peak_channels = 6 * config.width
        groups = [RcanGroup(config) for _ in range(config.groups)]
        self.head = nn.Sequential(conv(channels, config.width))
        self.body = nn.Sequential(*groups, conv(config.width, config.width))

    def forward(self, lr: Tensor) -> Tensor:
        x = self.head(lr)
        return self.body(x) + x
