"""What an encoder states about itself."""

from torch import Tensor, nn


class Encoder(nn.Module):
    """Base class of encoders: a normalised image (B, C, h, w) -> features (B, width, h, w).

    The features have the size of the input. An encoder does not pad: where it needs whole windows,
    it states their side, and the model pads (`SRModel.frame`).
    """

    width: int
    """Channels of the features."""
    radius: int | None
    """Distance in pixels up to which an input pixel can change a feature; None if it is unlimited,
    as with a mean over the image: such an encoder sees the whole image at once, never tiles."""
    peak_channels: int
    """Channels of feature maps that are alive at once, for the choice of tiles."""
    window: int = 1
    """Height and width of the input are multiples of this: the side of attention windows."""

    def forward(self, lr: Tensor) -> Tensor:
        raise NotImplementedError
