"""The fixed-scale upsamplers of EDSR and RDN (sub-pixel convolution, Shi et al. 2016) with the
interface of a decoder: `query` returns the nearest pixel of their x2, x3, x4 or x8 output."""

from typing import ClassVar, Literal

from torch import Tensor, nn

from liif.core.section import Section, Width
from liif.models.decoder import Decoder
from liif.models.field import Field
from liif.models.geometry import nearest
from liif.models.layers import conv

STAGES = {2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}
"""For each scale, the factors of its pixel shuffles."""


class UpsamplerConfig(Section):
    """Configuration of an upsampler for one scale."""

    name: Literal["upsampler"] = "upsampler"
    scale: Literal[2, 3, 4, 8]
    width: Width | None = None
    """Channels between the stages: the encoder's for EDSR (default), the growth rate for RDN."""

    SMALL: ClassVar = {"scale": 3, "width": 6}  # a variant for fast tests

    def build(self, width: int, channels: int) -> "Upsampler":
        return Upsampler(width, self, channels)


class Upsampler(Decoder):
    """Convolution and pixel shuffle (twice for x4, thrice for x8), and a last convolution."""

    radius = 2

    def __init__(self, width: int, config: UpsamplerConfig, channels: int = 3) -> None:
        super().__init__()
        self.scale = config.scale
        inner = config.width or width
        layers: list[nn.Module] = []
        for i, step in enumerate(STAGES[config.scale]):
            layers += [conv(inner if i else width, inner * step**2), nn.PixelShuffle(step)]
        self.layers = nn.Sequential(*layers, conv(inner, channels))
        # The widest map is the last stage's output, at the output's resolution.
        self.code_channels = 2 * inner * config.scale**2

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Upsample feat (B, C, h, w); the codes are the pixels of the upsampled image."""
        return Field.of_map(self.layers(feat), factor=self.scale)

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, C) at coord (B, Q, 2); the cell is ignored."""
        return self._decode(field, coord[..., 0], coord[..., 1])

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, R, W, C) of rows y (R,) and columns x (W,)."""
        return self._decode(field, y.view(1, -1, 1), x.view(1, 1, -1))

    def _decode(self, field: Field, y: Tensor, x: Tensor) -> Tensor:
        h, w = field.size
        return field.gather(nearest(y, h).at, nearest(x, w).at)
