"""The pictures that are open in the viewer."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from liif.core.sizes import Size
from liif.images.rgb8 import Pixels, read_image
from liif.view.cache import Cache

OPEN = 2**29
"""Bytes of pictures that stay open, beside the first one."""


class Picture(NamedTuple):
    id: str
    """From its pixels, so that an address names the same picture tomorrow."""
    name: str
    pixels: Pixels
    """(h, w, 3) uint8."""

    @property
    def size(self) -> Size:
        """(h, w)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def largest(self) -> float:
        """The scale up to which a pixel on the screen is wide enough for coordinates in float32: a
        quarter of them at the edge of the picture is rounding then."""
        return min(1000, 2**22 / max(self.size))

    def about(self) -> dict[str, str | float]:
        """What the page has to know."""
        h, w = self.size
        known = {"width": w, "height": h, "largest": self.largest}
        return {"id": self.id, "name": self.name, **known}


def read_picture(path: Path, name: str) -> Picture:
    """Raises UserError as `read_image` does."""
    pixels = read_image(path)
    content = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes())
    return Picture(content.hexdigest()[:16], name, pixels)


class Pictures:
    """The first picture for good, and those dropped on the page while there is room."""

    def __init__(self, first: Picture) -> None:
        self.first = first
        self._others: Cache[str, Picture] = Cache(OPEN)

    def add(self, picture: Picture) -> None:
        self._others.put(picture.id, picture, picture.pixels.nbytes)

    def get(self, id: str) -> Picture | None:
        return self.first if id == self.first.id else self._others.get(id)

    def about(self) -> list[dict[str, str | float]]:
        others = self._others.values()
        return [picture.about() for picture in (self.first, *others)]
