"""Sizes of images, windows in them, and the size of an output. Sizes are (height, width)."""

import math
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from liif.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np

Size = tuple[int, int]
"""(height, width) in pixels; also a span (first, last + 1) along one axis."""
Scale = tuple[float, float]
"""(vertical, horizontal) factors."""
Fit = Literal["contain", "cover", "stretch"]
"""How a picture of another aspect ratio fits a size: as a whole within it; its middle fills it; or
distorted."""
MAX_SIDE = 2**31
"""Sides of images are shorter, which is also the limit of PNG."""


def scale_text(scale: Scale) -> str:
    """Return a scale as options take it: 2.5, or 2.5x1.5 (vertical, horizontal)."""
    y, x = scale
    return f"{y:g}" if y == x else f"{y:g}x{x:g}"


def scale_value(scale: Scale) -> float | list[float]:
    """Return a scale as files of results have it: one factor, or [vertical, horizontal]."""
    y, x = scale
    return y if y == x else [y, x]


class Window(NamedTuple):
    """A part of the continuous image, in (also fractional) low-resolution pixels from its upper
    left corner."""

    top: float
    left: float
    height: float
    width: float


class Box(NamedTuple):
    """A rectangle of an image, in pixels from its upper left corner."""

    x: int
    y: int
    w: int
    h: int

    def cut(self, image: "np.ndarray") -> "np.ndarray":
        """Return the box of an image (H, W, …)."""
        return image[self.y : self.y + self.h, self.x : self.x + self.w]


def target_size(
    lr: tuple[float, float], *, size: Size | None = None, scale: float | Scale | None = None
) -> Size:
    """Return (H, W) of the output for an input of `lr` (h, w) pixels, possibly fractional; raises
    ValueError unless exactly one of `size` and `scale` is given and in range."""
    if (size is None) == (scale is None):
        raise ValueError("give exactly one of size=(H, W) and scale=")
    if scale is not None:
        sy, sx = scale if isinstance(scale, tuple) else (scale, scale)
        if not (sy > 0 and sx > 0 and max(lr[0] * sy, lr[1] * sx) < MAX_SIDE):
            raise ValueError(f"scale must be positive and its result below 2³¹, not {scale}")
        return max(1, round(lr[0] * sy)), max(1, round(lr[1] * sx))
    H, W = cast(Size, size)
    if not (1 <= H < MAX_SIDE and 1 <= W < MAX_SIDE and int(H) == H and int(W) == W):
        raise ValueError(f"size must be two positive whole numbers below 2³¹, not {size}")
    return int(H), int(W)


def borders(n: int, parts: int) -> list[int]:
    """Return the parts + 1 borders that split n into parts of equal size, up to 1."""
    return [n * i // parts for i in range(parts + 1)]


class OutputSpec(NamedTuple):
    """The requested size of an output, and the part of the input that it shows.

    Either `scale` or sides are given; with one side the other follows in proportion.
    """

    scale: Scale | None = None
    height: int | None = None
    width: int | None = None
    crop: Window | None = None
    """The part of the input; None for all of it."""
    fit: Fit = "stretch"
    """How the input fits both sides, if they are given."""

    def window(self, size: Size, name: str = "the image") -> Window:
        """Return the part of an input of (h, w) pixels that is shown; raises UserError if `crop`
        reaches beyond the input, which the message calls `name`."""
        h, w = size
        top, left, height, width = window = self.crop or Window(0, 0, h, w)
        if top + height > h or left + width > w:
            raise UserError(f"{name}: has {w}×{h} px; --crop reaches beyond its border")
        if self.fit != "cover" or self.height is None or self.width is None:
            return window
        ratio = self.height / self.width
        if math.isclose(height, width * ratio, rel_tol=1e-9):
            return window
        kept = min(height, width * ratio), min(width, height / ratio)
        return Window(top + (height - kept[0]) / 2, left + (width - kept[1]) / 2, *kept)

    def target(self, size: Size) -> Size:
        """Return (H, W) of the output for an input of (h, w) pixels."""
        _, _, h, w = self.window(size)
        if self.scale is not None:
            height, width = self.scale
            return max(1, round(h * height)), max(1, round(w * width))
        if self.fit == "contain" and self.height and self.width:
            factor = min(self.height / h, self.width / w)
            return max(1, round(h * factor)), max(1, round(w * factor))
        H = self.height or max(1, round(h * (self.width or 0) / w))
        return H, self.width or max(1, round(w * H / h))

    def factors(self, size: Size) -> Scale:
        """Return the (vertical, horizontal) factors of an input of (h, w) pixels, as they are asked
        for: those of the output may differ, as its sides are rounded."""
        _, _, h, w = self.window(size)
        if self.scale is not None:
            return self.scale
        factors = [n / side for n, side in ((self.height, h), (self.width, w)) if n is not None]
        if self.fit == "stretch" and len(factors) == 2:
            return factors[0], factors[1]
        return min(factors), min(factors)
