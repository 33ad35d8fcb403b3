"""One training sample: a low-resolution patch and some pixels of the picture that it came from.

Everything random comes from the generator that is handed in; `loader.py` makes one for each sample.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from liif.core.errors import UserError
from liif.core.section import Section
from liif.data.cache import ImageStore, open_images

Array = np.ndarray


Side = Annotated[int, Field(gt=0, le=2**16)]


class Sample(NamedTuple):
    """One image's share of a batch."""

    lr: Array
    """uint8 (h, w, 3)."""
    coord: Array
    """float32 (Q, 2): centres of the queried pixels, (y, x) in [-1, 1]."""
    cell: Array
    """float32 (2,): height and width of a pixel in the same units."""
    target: Array
    """uint8 (Q, 3): the pixels' colours."""


class CropSpec(NamedTuple):
    """All that is random in a sample: its image, or pair; the side of the high-resolution crop; its
    corner, or the low-resolution one's in a pair; whether rows and columns are flipped, and then
    transposed; the queried pixels, int64 (Q,), numbered row by row in what that gives."""

    image: int
    side: int
    top: int
    left: int
    rows: bool
    cols: bool
    transpose: bool
    chosen: Array


class CacheConfig(Section):
    """How images are kept."""

    cache: Literal["none", "memory", "mmap", "device"] = "mmap"
    """Decoded each time; once into memory, or a mapped file; samples made on the device from it."""
    cache_dir: str | None = None
    """Where such files go; by default $LIIF_CACHE, else ~/.cache/liif."""
    skip_broken: bool = False
    """Leave files out that cannot be read, with a warning, instead of stopping."""

    def open(self, path: Path) -> ImageStore:
        folder = None if self.cache_dir is None else Path(os.path.expanduser(self.cache_dir))
        return open_images(
            path,
            cache="mmap" if self.cache == "device" else self.cache,
            cache_dir=folder,
            skip_broken=self.skip_broken,
            progress=sys.stderr.isatty(),
        )


def draw_crop(
    image: int,
    size: tuple[int, int],
    crop: int,
    side: int,
    *,
    queries: int,
    augment: bool,
    rng: np.random.Generator,
) -> CropSpec:
    top, left = rng.integers(0, (size[0] - crop + 1, size[1] - crop + 1)).tolist()
    rows, cols, transpose = (rng.random(3) < 0.5).tolist() if augment else [False] * 3
    chosen = rng.choice(side * side, queries, replace=False)
    return CropSpec(image, side, top, left, rows, cols, transpose, chosen)


def query_crop(lr: Array, hr: Array, draw: CropSpec) -> Sample:
    """Flip and transpose both alike, then ask for pixels of hr."""
    lr, hr = (_flip(image, draw.rows, draw.cols, draw.transpose) for image in (lr, hr))
    return query_pixels(lr, hr, draw.chosen)


def query_pixels(lr: Array, hr: Array, chosen: Array) -> Sample:
    H, W = hr.shape[:2]
    row, col = np.divmod(chosen, W)
    coord = np.stack([_centres(H)[row], _centres(W)[col]], axis=-1)
    cell = np.array([2 / H, 2 / W], dtype=np.float32)
    return Sample(np.ascontiguousarray(lr), coord, cell, hr[row, col])


def _flip(image: Array, rows: bool, cols: bool, transpose: bool) -> Array:
    image = image[:: -1 if rows else 1, :: -1 if cols else 1]
    return image.swapaxes(0, 1) if transpose else image


def _centres(n: int) -> Array:
    """As geometry.pixel_centres, in the same float32 operations."""
    step, first = np.float32(2 / n), np.float32(-1 + 1 / n)
    return np.arange(n, dtype=np.float32) * step + first


def check_crop_fits(store: ImageStore, side: int, folder: Path, keys: str) -> None:
    small = [
        f"{name} ({w}×{h} px)"
        for name, (h, w) in zip(store.names, store.sizes, strict=True)
        if min(h, w) < side
    ]
    if small:
        listed = ", ".join(small[:5]) + (", …" if len(small) > 5 else "")
        raise UserError(
            f"{folder}: {len(small)} of {len(store)} images are smaller than the crop of "
            f"{side}×{side} px: {listed}. Take them out or lower {keys}."
        )
