"""SwinIR without its upsampler (Liang, Cao, Sun, Zhang, Van Gool, Timofte: "SwinIR: Image
Restoration Using Swin Transformer", ICCVW 2021), with the settings and parameter names of
the weights that were published with LTE (Lee and Jin, CVPR 2022)."""

from typing import ClassVar, Literal

from torch import Tensor

from liif.core.section import Width
from liif.models.encoder import Encoder
from liif.models.swin import Swin, SwinConfig


class SwinIrConfig(SwinConfig):
    """Configuration of the SwinIR encoder."""

    name: Literal["swinir"] = "swinir"
    width: Width = 64
    """Channels of the features."""

    SMALL: ClassVar = {
        "width": 6, "embedding": 12, "depths": (2,), "heads": 2, "window": 4, "drop_path": 0.0,
    }  # fmt: skip

    def build(self, channels: int) -> "SwinIr":
        return SwinIr(self, channels)


class SwinIr(Swin, Encoder):
    """(B, C, h, w) normalised image of whole windows -> (B, width, h, w) feature map."""

    def __init__(self, config: SwinIrConfig, channels: int = 3) -> None:
        super().__init__(config, channels, config.width)
        self.width = config.width

    def forward(self, lr: Tensor) -> Tensor:
        return Swin.forward(self, lr)
