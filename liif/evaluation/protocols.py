"""The published evaluation protocols: which pixels and channels are scored."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from liif.core.sizes import Scale
from liif.evaluation.named import NAMED

ProtocolName = Literal["div2k", "benchmark", "none"]


@dataclass(frozen=True)
class ScoreProtocol:
    """The channels that are scored and the border that is dropped."""

    luma: bool
    """Score BT.601 luma instead of RGB."""
    border: tuple[int, int]
    """Rows dropped at top and bottom, columns dropped at left and right."""

    def crop(self, image: Tensor) -> Tensor:
        """Return an image (…, H, W) without the border. Raises ValueError if nothing is left."""
        (H, W), (y, x) = image.shape[-2:], self.border
        if min(H - 2 * y, W - 2 * x) < 1:
            raise ValueError(f"{H}×{W} px is too small for a border of {y} rows and {x} columns")
        return image[..., y : H - y, x : W - x]


def get_protocol(name: ProtocolName, scale: Scale) -> ScoreProtocol:
    """Return the protocol of a name at a scale (vertical, horizontal).

    - `div2k`: RGB without a border of scale + 6 pixels
    - `benchmark`: luma without a border of scale pixels
    - `none`: RGB, all pixels

    The first two are those of EDSR (Lim et al. 2017) and LIIF (Chen et al. 2021). Fractional scales
    are rounded up, per axis. Any other meaning of a score is a `definitions.Definition`.
    """
    definition = NAMED[f"liif-{name}"].psnr
    assert definition is not None
    return ScoreProtocol(definition.colour != "rgb", definition.border_at(scale))
