"""Compression to a JPEG or WebP file and back."""

import io
from typing import Annotated, Literal

import numpy as np
import pydantic
from PIL import Image

from liif.data.degradations.degradation import Planes
from liif.data.degradations.step import Goal, Step, ordered

BLOCK = 16
"""Side of the blocks that JPEG (with halved chroma) and WebP work on, in pixels."""

Quality = Annotated[int, pydantic.Field(ge=1, le=100)]


class _Compression(Step):
    quality: Annotated[tuple[Quality, Quality], ordered] = (30, 95)
    """Quality as of Pillow, from 1 to 100; whole numbers are drawn."""

    def apply(self, image: Planes, goal: Goal, rng: np.random.Generator) -> tuple[Planes, str]:
        quality = int(rng.integers(*self.quality, endpoint=True))
        offset = rng.integers(0, BLOCK, 2)
        return compress(image, self.name, quality, offset), f"{self.name} {quality}"


class JpegConfig(_Compression):
    """Configuration of JPEG compression, with chroma of half the resolution."""

    name: Literal["jpeg"] = "jpeg"


class WebpConfig(_Compression):
    """Configuration of lossy WebP compression."""

    name: Literal["webp"] = "webp"


def compress(
    image: Planes, kind: Literal["jpeg", "webp"], quality: int, offset: tuple[int, int] | np.ndarray
) -> Planes:
    """Return (C, H, W) after compression, in gray levels of 8 bits. The corner of the image is at
    `offset` (y, x) in a block, because a crop of a photograph begins anywhere in its blocks."""
    levels = np.rint(image * 255).astype(np.uint8)
    y, x = (int(n) for n in offset)
    padded = np.pad(levels, ((0, 0), (y, 0), (x, 0)), mode="edge")
    planes = [padded] if len(image) == 3 else padded[:, None]
    result = np.concatenate([_through_file(plane, kind, quality) for plane in planes])
    return np.divide(result[:, y:, x:], 255, dtype=np.float32)


def _through_file(planes: np.ndarray, kind: str, quality: int) -> np.ndarray:
    """Return uint8 (3, H, W) or (1, H, W) after compression."""
    gray = len(planes) == 1
    pixels = planes[0] if gray else np.ascontiguousarray(planes.transpose(1, 2, 0))
    picture = Image.fromarray(pixels)
    file = io.BytesIO()
    if kind == "jpeg":
        picture.save(file, kind, quality=quality, subsampling=0 if gray else "4:2:0")
    else:
        picture.save(file, kind, quality=quality, method=0)
    with Image.open(file, formats=[kind]) as opened:
        back = np.asarray(opened.convert("L" if gray else "RGB"))
    return back[None] if gray else back.transpose(2, 0, 1)
