"""Sizes and windows of images, and the size of a result. Sizes are (height, width) in pixels."""

from typing import NamedTuple, cast

from liif.core.errors import UserError

Size = tuple[int, int]
"""(height, width) in pixels; also a span (first, last + 1) along one axis."""
Scale = tuple[float, float]
"""(vertical, horizontal) factors."""
LARGEST = 2**31
"""No side of an image is that long; PNG's limit, too."""


class Window(NamedTuple):
    """A part of the continuous image, in low-resolution pixels from its upper left corner; not
    necessarily whole ones."""

    top: float
    left: float
    height: float
    width: float


def target_size(
    lr: tuple[float, float],
    *,
    size: Size | None = None,
    scale: float | tuple[float, float] | None = None,
) -> Size:
    """(H, W) from exactly one of a size and a scale; ValueError for anything that is not one."""
    if (size is None) == (scale is None):
        raise ValueError("give exactly one of size=(H, W) and scale=")
    if scale is not None:
        sy, sx = scale if isinstance(scale, tuple) else (scale, scale)
        if not (sy > 0 and sx > 0 and max(lr[0] * sy, lr[1] * sx) < LARGEST):
            raise ValueError(f"scale must be positive and its result below 2³¹, not {scale}")
        return max(1, round(lr[0] * sy)), max(1, round(lr[1] * sx))
    H, W = cast(Size, size)
    if not (1 <= H < LARGEST and 1 <= W < LARGEST and int(H) == H and int(W) == W):
        raise ValueError(f"size must be two positive whole numbers below 2³¹, not {size}")
    return int(H), int(W)


def borders(n: int, parts: int) -> list[int]:
    """n cut into equal parts, up to one; empty ones where there are more parts than n."""
    return [n * i // parts for i in range(parts + 1)]


class OutputSpec(NamedTuple):
    """What was asked for, of a photograph of any size: `scale` or sides."""

    scale: tuple[float, float] | None = None
    """(vertical, horizontal)."""
    height: int | None = None
    width: int | None = None
    """With one of the two the other follows in proportion."""
    crop: Window | None = None

    def window(self, size: Size, name: str = "the picture") -> Window:
        """The part that is shown of a photograph of (h, w); UserError if it has no such part."""
        h, w = size
        if self.crop is None:
            return Window(0, 0, h, w)
        top, left, height, width = self.crop
        if top + height > h or left + width > w:
            raise UserError(f"{name}: has {w}×{h} px; --crop reaches beyond them")
        return self.crop

    def target(self, size: Size) -> Size:
        """(H, W) for a photograph of (h, w)."""
        _, _, h, w = self.window(size)
        if self.scale is not None:
            height, width = self.scale
            return max(1, round(h * height)), max(1, round(w * width))
        H = self.height or max(1, round(h * (self.width or 0) / w))
        return H, self.width or max(1, round(w * H / h))
