"""Images that are open in the viewer."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from liif.core.errors import UserError
from liif.core.sizes import Size
from liif.images.rgb8 import Pixels, image_size, read_image
from liif.view.cache import Cache

CAPACITY = 2**29
"""Bytes of images that stay open in addition to the first one."""


class Picture(NamedTuple):
    """An image that is open in the viewer."""

    id: str
    """Hash of the pixels, so that a bookmarked address stays valid."""
    name: str
    pixels: Pixels
    """(h, w, 3) uint8."""

    @property
    def size(self) -> Size:
        """(h, w)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def largest(self) -> float:
        """Largest scale: beyond it, float32 rounds coordinates at the image's edge by more than
        a quarter of a screen pixel."""
        return min(1000, 2**22 / max(self.size))

    def describe(self) -> dict[str, str | float]:
        """Return what the page needs to know, as JSON values."""
        h, w = self.size
        largest = self.largest
        return {"id": self.id, "name": self.name, "width": w, "height": h, "largest": largest}


def read_picture(path: Path, name: str) -> Picture:
    """Read an image file. Raises UserError as `read_image` does."""
    pixels = read_image(path)
    content = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes())
    return Picture(content.hexdigest()[:16], name, pixels)


def read_upload(path: Path, name: str) -> Picture:
    """As `read_picture`; also raises UserError for an image that `Pictures` would not keep."""
    h, w = image_size(path)
    if 3 * h * w > CAPACITY:
        megapixels = CAPACITY // 3_000_000
        reason = f"{w}×{h} px: images of up to {megapixels} megapixels can be added to the page; "
        raise UserError(f"{path}: {reason}start liif view with this file instead")
    return read_picture(path, name)


class Pictures:
    """The first image, which stays open, and added ones while they fit into the capacity."""

    def __init__(self, first: Picture) -> None:
        self.first = first
        self._others: Cache[str, Picture] = Cache(CAPACITY)

    def add(self, picture: Picture) -> None:
        self._others.put(picture.id, picture, picture.pixels.nbytes)

    def get(self, id: str) -> Picture | None:
        return self.first if id == self.first.id else self._others.get(id)

    def describe(self) -> list[dict[str, str | float]]:
        return [picture.describe() for picture in (self.first, *self._others.values())]
