"""Evaluation sets: pictures in low and high resolution, pair by pair.

Sets with published low-resolution images (x2, x3, x4) use them. For any other scale s the
high-resolution image is cropped to (round(h·s), round(w·s)) with h = floor(H/s), w = floor(W/s),
and reduced to (h, w).
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from liif.core.errors import UserError
from liif.core.sizes import Scale, Size
from liif.images.resize import pillow_bicubic
from liif.images.rgb8 import image_size, list_images, read_image

Array = np.ndarray


class Pair(NamedTuple):
    """One picture in both resolutions."""

    name: str
    """Its path in the folder of high-resolution images, without suffix."""
    lr: Array
    """uint8 (h, w, 3)."""
    hr: Array
    """uint8 (H, W, 3), what `lr` covers."""


@dataclass(frozen=True)
class PairSet:
    """Pairs made or read when they are asked for, in the order of their names."""

    names: list[str]
    hr: list[Path]
    lr: list[Path] | None
    scale: Scale
    crop: int | None = None

    def __len__(self) -> int:
        return len(self.hr)

    def __iter__(self) -> Iterator[Pair]:
        for i, (name, path) in enumerate(zip(self.names, self.hr, strict=True)):
            hr = read_image(path)
            if self.lr is None:
                if self.crop is not None:
                    hr = centre_crop(hr, self.crop, path)
                lr, hr = reduce(hr, self.scale, path)
            else:
                lr = read_image(self.lr[i])
                hr = hr[: round(lr.shape[0] * self.scale[0]), : round(lr.shape[1] * self.scale[1])]
            yield Pair(name, lr, hr)

    def __getitem__(self, part: slice) -> "PairSet":
        return self.subset(range(len(self))[part])

    def subset(self, indices: Sequence[int]) -> "PairSet":
        """Some of the pairs."""
        names, hr = [self.names[i] for i in indices], [self.hr[i] for i in indices]
        lr = None if self.lr is None else [self.lr[i] for i in indices]
        return PairSet(names, hr, lr, self.scale, self.crop)


def open_pairs(
    hr: Path, *, scale: Scale, lr: Path | None = None, crop: int | None = None, limit: int = 0
) -> PairSet:
    """The set of a folder (or one file) of high-resolution images.

    Args:
        hr: folder of images, or one image.
        scale: vertical and horizontal; may be any positive real numbers.
        lr: folder of low-resolution images, matched by name: `babyx2.png` or `baby.png` belongs to
            `baby.png`; without it they are made with Pillow's bicubic.
        crop: use this centre square of each image only (without `lr`).
        limit: use the first so many images only; 0 for all (without `lr`).

    Raises:
        UserError: nothing there; names or sizes that do not match, naming both.
    """
    hr_paths = list_images(hr)
    base = hr if hr.is_dir() else hr.parent
    hr_names = [path.relative_to(base).as_posix() for path in hr_paths]
    keys = [_key(name) for name in hr_names]
    if lr is None:
        uses = Counter(keys)  # a.png beside a.jpg keep their suffixes
        names = [k if uses[k] == 1 else n for k, n in zip(keys, hr_names, strict=True)]
        return PairSet(names[: limit or None], hr_paths[: limit or None], None, scale, crop)
    lr_paths = list_images(lr)
    if hr.is_file():
        lr_paths = [path for path in lr_paths if pair_key(path.name, {hr.stem}) == hr.stem]
    lr_names = [path.relative_to(lr if lr.is_dir() else lr.parent).as_posix() for path in lr_paths]
    matched = [lr_paths[i] for i, _ in match_pairs(lr_names, hr_names, lr, base)]
    for small, large in zip(matched, hr_paths, strict=True):
        _check_published(image_size(small), image_size(large), scale, small, large)
    return PairSet(keys, hr_paths, matched, scale)


def match_pairs(
    lr_names: list[str], hr_names: list[str], lr: Path, hr: Path, *, complete: bool = True
) -> list[tuple[int, int]]:
    """(index in lr, index in hr) of all pairs in the order of hr, by name without suffix and
    without a trailing x2, x3, … of the low-resolution one. With `complete`, none may be left
    over. UserError names those that are, and those of which there are several."""
    lr, hr = (path.parent if path.is_file() else path for path in (lr, hr))
    hr_keys = [_key(name) for name in hr_names]
    known = set(hr_keys)
    lr_keys = [pair_key(name, known) for name in lr_names]
    for folder, names, keys in ((lr, lr_names, lr_keys), (hr, hr_names, hr_keys)):
        uses = Counter(keys)
        several = [n for n, key in zip(names, keys, strict=True) if key in known and uses[key] > 1]
        if several:
            raise UserError(f"{folder}: several images of one picture: {_listed(several)}")
    by_key = {key: i for i, key in enumerate(lr_keys)}
    lonely = [str(hr / n) for n, key in zip(hr_names, hr_keys, strict=True) if key not in by_key]
    spare = [str(lr / n) for n, key in zip(lr_names, lr_keys, strict=True) if key not in known]
    if (complete and (lonely or spare)) or len(lonely) == len(hr_names):
        parts = [
            f"{len(names)} without a partner: {_listed(names)}"
            for names in (lonely, spare)
            if names
        ]
        raise UserError(
            f"low-resolution images in {lr} and high-resolution images in {hr} do not match: "
            + "; ".join(parts)
        )
    return [(by_key[key], j) for j, key in enumerate(hr_keys) if key in by_key]


def pair_key(lr_name: str, hr_keys: set[str]) -> str:
    """What a low-resolution image is matched by: its name as it is, or without x2, x3, …"""
    key = _key(lr_name)
    return key if key in hr_keys else re.sub(r"x\d+(\.\d+)?$", "", key)


def _key(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if names[3:] else "")


def pair_scale(lr: Size, hr: Size, small: Path, large: Path) -> int:
    """The whole-numbered scale between two sizes; the larger may have a remainder."""
    scale = hr[0] // lr[0]
    if scale < 1 or (hr[0] // scale, hr[1] // scale) != lr:
        raise UserError(
            f"{small} ({lr[1]}×{lr[0]} px) and {large} ({hr[1]}×{hr[0]} px) are not of one "
            "whole-numbered scale"
        )
    return scale


def reduced_size(hr: Size, scale: Scale) -> tuple[Size, Size]:
    """Sizes of the low-resolution image and of the crop of the high-resolution one it covers."""
    # The smallest float above keeps 110 / 1.1 = 99.999… at 100, as published.
    h, w = (math.floor(n / s + 1e-9) for n, s in zip(hr, scale, strict=True))
    return (h, w), (round(h * scale[0]), round(w * scale[1]))


def reduce(hr: Array, scale: Scale, path: Path) -> tuple[Array, Array]:
    """(lr, crop of hr). Raises UserError if the image is too small for the scale."""
    lr_size, (H, W) = reduced_size((hr.shape[0], hr.shape[1]), scale)
    if 0 in lr_size:
        raise UserError(
            f"{path}: {hr.shape[1]}×{hr.shape[0]} px cannot be reduced by {scale[0]:g}, "
            f"{scale[1]:g} to anything"
        )
    hr = hr[: min(H, hr.shape[0]), : min(W, hr.shape[1])]
    return pillow_bicubic(hr, lr_size), hr


def centre_crop(image: Array, side: int, path: Path) -> Array:
    """The middle side × side pixels."""
    h, w = image.shape[:2]
    if min(h, w) < side:
        raise UserError(
            f"{path}: {w}×{h} px is smaller than the validation crop of {side} px; lower "
            "valid.crop, or set it to null for whole images"
        )
    top, left = (h - side) // 2, (w - side) // 2
    return image[top : top + side, left : left + side]


def _check_published(lr: Size, hr: Size, scale: Scale, small: Path, large: Path) -> None:
    expected, _ = reduced_size(hr, scale)
    if lr != expected:
        raise UserError(
            f"{small} is {lr[1]}×{lr[0]} px, but {large} ({hr[1]}×{hr[0]} px) at scale "
            f"{scale[0]:g}, {scale[1]:g} needs {expected[1]}×{expected[0]} px"
        )
