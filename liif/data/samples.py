"""One training sample: a low-resolution patch and some pixels of the picture that it came from.

Everything random comes from the generator that is handed in; `loader.py` makes one for each sample.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from liif.data.cache import ImageStore, open_images
from liif.data.pairs import match_pairs, pair_scale
from liif.data.paths import data_path
from liif.data.resize import pillow_bicubic
from liif.errors import UserError
from liif.section import Section

Array = np.ndarray
Scale = Annotated[float, Field(ge=1, le=1000)]
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


class Draw(NamedTuple):
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


class Storage(Section):
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


class RandomScale(Storage):
    """A random scale for every sample (Chen et al. 2021, sec. 4): a crop of round(patch · s) px
    with s ~ U(scale), reduced to patch × patch by Pillow's bicubic."""

    sampling: Literal["random-scale"] = "random-scale"
    images: str
    patch: Side = 48
    scale: tuple[Scale, Scale] = (1.0, 4.0)
    queries: PositiveInt = 2304
    """Pixels asked for, drawn without repetition."""
    augment: bool = True
    """Flips and transposition."""

    @model_validator(mode="after")
    def _possible(self) -> "RandomScale":
        low, high = self.scale
        if low > high:
            raise ValueError(f"scale: must be low <= high, not {list(self.scale)}")
        smallest = round(self.patch * low) ** 2
        if self.queries > smallest:
            raise ValueError(f"queries: at most the {smallest} pixels of the smallest crop")
        return self

    def open_source(self, root: str | None) -> "RandomScaleSource":
        folder = data_path(root, self.images)
        store = self.open(folder)
        largest = round(self.patch * self.scale[1])
        _check_sizes(store, largest, folder, "train_data.patch or train_data.scale")
        return RandomScaleSource(self, store)


class FixedPairs(Storage):
    """Given low- and high-resolution images of one whole-numbered scale."""

    sampling: Literal["pairs"]
    lr: str
    hr: str
    patch: Side = 48
    """Side of the low-resolution crop."""
    queries: PositiveInt = 2304
    augment: bool = True

    def open_source(self, root: str | None) -> "FixedPairsSource":
        lr_folder, hr_folder = data_path(root, self.lr), data_path(root, self.hr)
        lr, hr = self.open(lr_folder), self.open(hr_folder)
        order = match_pairs(lr.names, hr.names, lr_folder, hr_folder, complete=not self.skip_broken)
        scales = {
            pair_scale(lr.sizes[i], hr.sizes[j], lr_folder / lr.names[i], hr_folder / hr.names[j])
            for i, j in order
        }
        if len(scales) > 1:
            raise UserError(f"{hr_folder}: its images are of several scales: {sorted(scales)}")
        _check_sizes(lr, self.patch, lr_folder, "train_data.patch")
        pixels = (self.patch * (scale := scales.pop())) ** 2
        if self.queries > pixels:
            raise UserError(f"train_data.queries: at most the {pixels} pixels of a crop, x{scale}")
        return FixedPairsSource(self, lr, hr, order, scale)


class SizeVaried(Storage):
    """Whole low-resolution images, the high-resolution one resized to a size that grows from the
    first image to the last (Chen et al. 2021: learning with size-varied ground truths)."""

    sampling: Literal["size-varied"]
    lr: str
    hr: str
    size: tuple[Side, Side]
    """Side of the first and of the last image's target, in pixels."""
    resize: Side | None = None
    """Side that all targets are brought back to, for networks of one scale."""
    queries: PositiveInt = 1024
    augment: bool = True
    """Horizontal flips."""

    @model_validator(mode="after")
    def _possible(self) -> "SizeVaried":
        if self.size[0] > self.size[1]:
            raise ValueError(f"size: must be low <= high, not {list(self.size)}")
        smallest = (self.resize or self.size[0]) ** 2
        if self.queries > smallest:
            raise ValueError(f"queries: at most the {smallest} pixels of the smallest target")
        return self

    def open_source(self, root: str | None) -> "SizeVariedSource":
        lr_folder, hr_folder = data_path(root, self.lr), data_path(root, self.hr)
        lr, hr = self.open(lr_folder), self.open(hr_folder)
        order = match_pairs(lr.names, hr.names, lr_folder, hr_folder, complete=not self.skip_broken)
        sizes = set(lr.sizes)
        if len(sizes) > 1:
            raise UserError(f"{lr_folder}: its images are of several sizes: {sorted(sizes)}")
        return SizeVariedSource(self, lr, hr, order)


TrainData = Annotated[RandomScale | FixedPairs | SizeVaried, Field(discriminator="sampling")]


@dataclass(frozen=True)
class RandomScaleSource:
    config: RandomScale
    store: ImageStore

    def __len__(self) -> int:
        return len(self.store)

    def name(self, index: int) -> str:
        """The image's file, relative to its folder."""
        return self.store.names[index]

    def draw(self, index: int, rng: np.random.Generator) -> Draw:
        side = round(self.config.patch * rng.uniform(*self.config.scale))
        return _draw(self.config, index, self.store.sizes[index], side, side, rng)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        draw, patch = self.draw(index, rng), self.config.patch
        hr = self.store[index][draw.top :, draw.left :][: draw.side, : draw.side]
        return _query(pillow_bicubic(hr, (patch, patch)), hr, draw)


@dataclass(frozen=True)
class FixedPairsSource:
    config: FixedPairs
    lr: ImageStore
    hr: ImageStore
    order: list[tuple[int, int]]
    scale: int

    def __len__(self) -> int:
        return len(self.order)

    def name(self, index: int) -> str:
        """The high-resolution image's file, relative to its folder."""
        return self.hr.names[self.order[index][1]]

    def draw(self, index: int, rng: np.random.Generator) -> Draw:
        size, patch = self.lr.sizes[self.order[index][0]], self.config.patch
        return _draw(self.config, index, size, patch, patch * self.scale, rng)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        draw, patch, s = self.draw(index, rng), self.config.patch, self.scale
        i, j = self.order[index]
        lr = self.lr[i][draw.top :, draw.left :][:patch, :patch]
        hr = self.hr[j][draw.top * s :, draw.left * s :][: draw.side, : draw.side]
        return _query(lr, hr, draw)


@dataclass(frozen=True)
class SizeVariedSource:
    config: SizeVaried
    lr: ImageStore
    hr: ImageStore
    order: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.order)

    def name(self, index: int) -> str:
        """The high-resolution image's file, relative to its folder."""
        return self.hr.names[self.order[index][1]]

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        low, high = self.config.size
        side = round(low + (high - low) * index / max(len(self) - 1, 1))
        i, j = self.order[index]
        lr, hr = self.lr[i], pillow_bicubic(self.hr[j], (side, side))
        if self.config.augment and rng.random() < 0.5:
            lr, hr = lr[:, ::-1], np.ascontiguousarray(hr[:, ::-1])
        if self.config.resize is not None:
            hr = pillow_bicubic(hr, (self.config.resize, self.config.resize))
        return _asked(lr, hr, rng.choice(len(hr) ** 2, self.config.queries, replace=False))


Source = RandomScaleSource | FixedPairsSource | SizeVariedSource


def _draw(
    config: RandomScale | FixedPairs,
    image: int,
    size: tuple[int, int],
    crop: int,
    side: int,
    rng: np.random.Generator,
) -> Draw:
    top, left = rng.integers(0, (size[0] - crop + 1, size[1] - crop + 1)).tolist()
    rows, cols, transpose = (rng.random(3) < 0.5).tolist() if config.augment else [False] * 3
    chosen = rng.choice(side * side, config.queries, replace=False)
    return Draw(image, side, top, left, rows, cols, transpose, chosen)


def _query(lr: Array, hr: Array, draw: Draw) -> Sample:
    """Flip and transpose both alike, then ask for pixels of hr."""
    lr, hr = (_flip(image, draw.rows, draw.cols, draw.transpose) for image in (lr, hr))
    return _asked(lr, hr, draw.chosen)


def _asked(lr: Array, hr: Array, chosen: Array) -> Sample:
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


def _check_sizes(store: ImageStore, side: int, folder: Path, keys: str) -> None:
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
