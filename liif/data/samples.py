"""One training sample: a low-resolution patch and queried pixels of its high-resolution crop.

Letters: h w low-resolution size, H W high-resolution size, Q queried pixels.
"""

import math
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pydantic
from numpy.random import Generator

from liif.core.errors import UserError
from liif.core.sizes import Size
from liif.data.cache import CacheConfig, ImageStore

Array = np.ndarray

Side = Annotated[int, pydantic.Field(gt=0, le=2**16)]
"""Side of a square, in pixels."""


class SampleConfig(CacheConfig):
    """The keys that all kinds of samples share."""

    queries: pydantic.PositiveInt = 2304
    """Pixels queried per sample, drawn without repetition; not used under `layout: crop`."""
    layout: Literal["points", "patch", "crop"] = "points"
    """points: queried pixels are scattered over the crop. patch: they are a square of it, row by
    row, which some losses need; `queries` is a square number then. crop: they are the whole crop,
    and the samples of a batch have one scale, so that decoders compute them as a grid: for
    `sampling: random-scale` and decoders that cost little for a pixel."""

    @property
    def queried_side(self) -> int | None:
        """Least side in pixels of the queried square; None for scattered points."""
        return math.isqrt(self.queries) if self.layout == "patch" else None

    @pydantic.model_validator(mode="after")
    def _queries_are_a_square(self) -> "SampleConfig":
        side = math.isqrt(self.queries)
        if self.layout == "patch" and side**2 != self.queries:
            raise ValueError(
                f"queries: {self.queries} is no square number, as layout: patch needs; the nearest "
                f"are {side**2} and {(side + 1) ** 2}"
            )
        return self


class Sample(NamedTuple):
    """One training sample; a batch stacks several."""

    lr: Array  # (h, w, C), of the dtype of the images
    coord: Array  # float32 (Q, 2): centres of the queried pixels, (y, x) in [-1, 1]
    cell: Array  # float32 (2,): height and width of a pixel in the same units
    target: Array  # (Q, C): the pixels' colours


class SampleView(NamedTuple):
    """A training sample before its pixels are queried."""

    lr: Array  # (h, w, C), augmented, as is hr
    hr: Array  # (H, W, C)
    chosen: Array  # int64 (Q,): the queried pixels, numbered row by row
    words: tuple[str, ...] = ()  # how lr was made

    def query(self) -> Sample:
        """Return the sample."""
        return query_pixels(self.lr, self.hr, self.chosen)


class CropSpec(NamedTuple):
    """Everything random in a sample."""

    image: int  # index of the image or pair
    side: int  # of the high-resolution crop, in pixels
    cut: int  # side of the square that is cut from the image, in pixels of the image
    top: int  # corner of the crop; in a pair, of the low-resolution crop
    left: int
    rows: bool  # reverse the rows
    cols: bool  # reverse the columns
    transpose: bool  # transpose, after reversing
    chosen: Array  # int64 (Q,): the queried pixels, numbered row by row in the augmented crop


def draw_crop(
    image: int, size: Size, crop: int, side: int, *, config: SampleConfig, augment: bool,
    rng: Generator,
) -> CropSpec:  # fmt: skip
    """Draw a crop × crop corner in an image of `size` (height, width), and the queried pixels of
    its side × side high-resolution crop."""
    top, left = rng.integers(0, (size[0] - crop + 1, size[1] - crop + 1)).tolist()
    rows, cols, transpose = (rng.random(3) < 0.5).tolist() if augment else [False] * 3
    chosen = draw_queries(side, config, rng)
    return CropSpec(image, side, crop, top, left, rows, cols, transpose, chosen)


def draw_queries(side: int, config: SampleConfig, rng: Generator) -> Array:
    """Draw the queried pixels of a side × side crop, int64 (Q,), numbered row by row."""
    if config.layout == "crop":
        return np.arange(side * side)
    if config.layout == "points":
        return rng.choice(side * side, config.queries, replace=False)
    patch = math.isqrt(config.queries)
    top, left = rng.integers(0, side - patch + 1, 2)
    along = np.arange(patch)
    return ((top + along)[:, None] * side + left + along).ravel()


def view_crop(lr: Array, hr: Array, spec: CropSpec, words: tuple[str, ...] = ()) -> SampleView:
    """Augment both crops alike."""
    return SampleView(_augment(lr, spec), _augment(hr, spec), spec.chosen, words)


def query_pixels(lr: Array, hr: Array, chosen: Array) -> Sample:
    """Return the sample of lr (h, w, C) and the chosen pixels of hr (H, W, C)."""
    H, W = hr.shape[:2]
    row, col = np.divmod(chosen, W)
    coord = np.stack([_centres(H)[row], _centres(W)[col]], axis=-1)
    cell = np.array([2 / H, 2 / W], dtype=np.float32)
    return Sample(np.ascontiguousarray(lr), coord, cell, hr[row, col])


def _augment(image: Array, spec: CropSpec) -> Array:
    image = image[:: -1 if spec.rows else 1, :: -1 if spec.cols else 1]
    return image.swapaxes(0, 1) if spec.transpose else image


def _centres(n: int) -> Array:
    """Return an axis's pixel centres by the float32 operations of models/geometry.py."""
    step, first = np.float32(2 / n), np.float32(-1 + 1 / n)
    return np.arange(n, dtype=np.float32) * step + first


def check_range(key: str, bounds: tuple[float, float], queries: int, smallest: int) -> None:
    """Raise ValueError, for a validator of pydantic, if the range of scales or sizes at `key` is
    reversed or the smallest × smallest high-resolution crop has fewer pixels than are queried."""
    if bounds[0] > bounds[1]:
        raise ValueError(f"{key}: must be [low, high] with low <= high, not {list(bounds)}")
    if queries > smallest**2:
        raise ValueError(f"queries: at most the {smallest**2} pixels of the smallest crop")


def check_crop_fits(store: ImageStore, side: int, folder: Path, keys: str) -> None:
    """Raise UserError if an image has less than side × side pixels; `keys` are the configuration
    keys to lower."""
    named = zip(store.names, store.sizes, strict=True)
    small = [f"{name} ({w}×{h} px)" for name, (h, w) in named if min(h, w) < side]
    if small:
        listed = ", ".join(small[:5]) + (", …" if len(small) > 5 else "")
        raise UserError(
            f"{folder}: {len(small)} of {len(store)} images are smaller than the crop of "
            f"{side}×{side} px: {listed}. Remove them or lower {keys}."
        )
