"""EDSR without its upsampler (Lim, Son, Kim, Nah, Lee: "Enhanced Deep Residual Networks for Single
Image Super-Resolution", CVPRW 2017). Parameter names are those of the published weights."""

from typing import ClassVar, Literal

from pydantic import PositiveFloat
from torch import Tensor, nn

from liif.core.section import Section, Width
from liif.models.encoder import Encoder
from liif.models.layers import ResBlock, conv


class EdsrConfig(Section):
    """Configuration of the EDSR encoder: EDSR-baseline by default; the large EDSR has 32 blocks,
    width 256 and residual_scale 0.1."""

    name: Literal["edsr-baseline"] = "edsr-baseline"
    blocks: Width = 16
    width: Width = 64
    """Channels of every feature map."""
    residual_scale: PositiveFloat = 1.0

    SMALL: ClassVar = {"blocks": 2, "width": 8, "residual_scale": 0.5}  # a variant for fast tests

    def build(self, channels: int) -> "Edsr":
        return Edsr(self, channels)


class Edsr(Encoder):
    """(B, C, h, w) normalised image -> (B, width, h, w) feature map."""

    def __init__(self, config: EdsrConfig, channels: int = 3) -> None:
        super().__init__()
        self.width = config.width
        self.radius = 2 * config.blocks + 2
        self.peak_channels = 4 * config.width
        blocks = [ResBlock(config.width, scale=config.residual_scale) for _ in range(config.blocks)]
        self.head = nn.Sequential(conv(channels, config.width))
        self.body = nn.Sequential(*blocks, conv(config.width, config.width))

    def forward(self, lr: Tensor) -> Tensor:
        x = self.head(lr)
        return x + self.body(x)
