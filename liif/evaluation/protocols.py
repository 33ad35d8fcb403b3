"""Which pixels and channels are scored: the published evaluation protocols."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

ProtocolName = Literal["div2k", "benchmark", "none"]


@dataclass(frozen=True)
class ScoreProtocol:
    """What is compared: which channel, without how many border pixels."""

    luma: bool
    border: tuple[int, int]
    """Rows dropped at top and bottom, columns dropped at left and right."""

    def crop(self, image: Tensor) -> Tensor:
        """The part of (…, H, W) that counts.

        Raises:
            ValueError: nothing is left of it.
        """
        (H, W), (y, x) = image.shape[-2:], self.border
        if min(H - 2 * y, W - 2 * x) < 1:
            raise ValueError(f"nothing is left of {H}×{W} px without {y} rows and {x} columns")
        return image[..., y : H - y, x : W - x]


def get_protocol(name: ProtocolName, scale: tuple[float, float]) -> ScoreProtocol:
    """`div2k`: RGB, scale + 6 border pixels dropped; `benchmark`: luma, scale border pixels
    dropped (Lim et al. 2017, as in LIIF's evaluation); `none`: RGB, all pixels. A fractional scale
    is rounded up; each axis drops its own."""
    extra = {"div2k": 6, "benchmark": 0}.get(name)
    if extra is None:
        return ScoreProtocol(luma=False, border=(0, 0))
    y, x = (math.ceil(s) + extra for s in scale)
    return ScoreProtocol(luma=name == "benchmark", border=(y, x))
