"""Evaluation sets: images in low and high resolution, pair by pair.

Sets with published low-resolution images (x2, x3, x4) use them. For any other scale s the
high-resolution image is cropped to (round(h·s), round(w·s)) with h = floor(H/s), w = floor(W/s),
and reduced to (h, w) by a degradation. What is random in it depends on the image's name only.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from liif.core.errors import UserError
from liif.core.sizes import Scale, Size
from liif.data.cache import warn_of_dropped_bits
from liif.data.degradations.build import PILLOW_BICUBIC
from liif.data.degradations.degradation import Degradation
from liif.data.names import match_by_endings, mixture, read_name
from liif.data.recipes import RECIPES, RecipeName, made_by, recipe_sizes
from liif.images.channels import RGB8, PixelFormat, read_header, read_pixels, read_size
from liif.images.rgb8 import list_images, tell_passed_over

Array = np.ndarray
PairFormats = tuple[PixelFormat, PixelFormat]
"""What is kept of low- and of high-resolution images."""


class Pair(NamedTuple):
    """One image in both resolutions."""

    name: str  # its path in the folder of high-resolution images, without suffix
    lr: Array  # (h, w, C): uint8, uint16, or float32 in [0, 1]
    hr: Array  # (H, W, C), the part that `lr` covers
    scale: Scale | None = None
    """The scale, where `lr` covers a fraction of a pixel more than `hr`; None for the ratio of
    their sizes."""


@dataclass(frozen=True)
class PairSet:
    """An evaluation set in the order of its names; iterating reads or makes one pair at a time."""

    names: list[str]
    hr: list[Path]
    lr: list[Path] | None
    """Published low-resolution images; None if they are made from `hr`."""
    scale: Scale
    crop: int | None = None
    """Side of the centre square that is used of each image; None for whole images."""
    degradation: Degradation = PILLOW_BICUBIC
    """Makes low-resolution images from `hr`, unless they are published."""
    forms: PairFormats = (RGB8, RGB8)
    recipe: RecipeName | None = None
    """Makes low-resolution images from `hr` with sizes of its own, in place of `degradation`."""

    def __len__(self) -> int:
        return len(self.hr)

    def __iter__(self) -> Iterator[Pair]:
        return map(self.pair, range(len(self)))

    def pair(self, i: int) -> Pair:
        """Read or make one pair. Raises UserError if an image cannot be read."""
        name, path = self.names[i], self.hr[i]
        hr = read_pixels(path, self.forms[1])
        if self.crop is not None:
            _check_crop((hr.shape[0], hr.shape[1]), self.crop, path)
        if self.recipe is not None:
            (h, w), (H, W) = self.sizes((hr.shape[0], hr.shape[1]))
            lr, hr = made_by(self.recipe, hr, self.scale)[:h, :w], hr[:H, :W]
            return Pair(name, lr, hr, self.scale if RECIPES[self.recipe].is_exact else None)
        if self.lr is None:
            if self.crop is not None:
                hr = _centre(hr, (self.crop, self.crop))[0]
            lr, hr = reduce(hr, self.scale, path, self.degradation, name)
        else:
            lr = read_pixels(self.lr[i], self.forms[0])
            (h, w), _ = reduced_size((hr.shape[0], hr.shape[1]), self.scale)
            lr = lr[:h, :w]  # a size that was rounded up reaches beyond `hr`
            if self.crop is not None:
                side, _ = reduced_size((self.crop, self.crop), self.scale)
                lr, corner = _centre(lr, side)
                top, left = (round(n * s) for n, s in zip(corner, self.scale, strict=True))
                hr = hr[top:, left:]
            hr = hr[: round(lr.shape[0] * self.scale[0]), : round(lr.shape[1] * self.scale[1])]
        return Pair(name, lr, hr)

    def sizes(self, hr: Size) -> tuple[Size, Size]:
        """Return the sizes of the low-resolution image that is made of one of a size, and of the
        part of that one that it covers."""
        if self.recipe is None:
            return reduced_size(hr, self.scale)
        return recipe_sizes(self.recipe, hr, self.scale)

    def warn_of_dropped_bits(self, *, published_only: bool = False) -> None:
        """Warn once for each folder that has files with more bits than are kept."""
        for form, paths in zip(self.forms, (self.lr, self.hr), strict=True):
            if paths and form.bits == 8 and not (published_only and paths is self.hr):
                deep = sum(read_header(path).bits > 8 for path in paths)
                if deep:
                    warn_of_dropped_bits(paths[0].parent, deep, len(paths))

    def __getitem__(self, part: slice) -> "PairSet":
        return self.subset(range(len(self))[part])

    def subset(self, indices: Sequence[int]) -> "PairSet":
        """Return the set of the pairs at these positions."""
        names, hr = [self.names[i] for i in indices], [self.hr[i] for i in indices]
        lr = None if self.lr is None else [self.lr[i] for i in indices]
        return replace(self, names=names, hr=hr, lr=lr)


def _centre(image: Array, size: Size) -> tuple[Array, Size]:
    """Return the middle of an image, and its corner (top, left)."""
    top, left = (image.shape[0] - size[0]) // 2, (image.shape[1] - size[1]) // 2
    return image[top : top + size[0], left : left + size[1]], (top, left)


def open_pairs(
    hr: Path,
    *,
    scale: Scale,
    lr: Path | None = None,
    crop: int | None = None,
    limit: int = 0,
    degradation: Degradation = PILLOW_BICUBIC,
    forms: PairFormats = (RGB8, RGB8),
    recipe: RecipeName | None = None,
    lr_name: str | None = None,
) -> PairSet:
    """Open the evaluation set of a folder (or one file) of high-resolution images.

    Args:
        hr: folder of images, or one image.
        scale: vertical and horizontal factor; any positive real numbers.
        lr: folder of low-resolution images, matched by name: `babyx2.png` or `baby.png` belongs to
            `baby.png`, and see liif/data/names.py. Without it they are made by `degradation`.
        crop: use only this centre square of each image.
        limit: use only the first `limit` images; 0 for all.
        degradation: makes the low-resolution images (without `lr`).
        forms: what is kept of low- and of high-resolution images.
        recipe: makes the low-resolution images in place of `degradation`.
        lr_name: name of a low-resolution image without suffix, in which {} stands for that of its
            partner and {scale} for the scale, e.g. {}x{scale}m.

    Sizes of low-resolution images may have been rounded down or up. Raises UserError if there are
    no images, or names or sizes do not match.
    """
    hr_paths = list_images(hr)
    for folder in dict.fromkeys(filter(None, (hr, lr))):
        if hr_paths[0].suffix.lower() != ".npy":
            tell_passed_over(folder)
    base = hr if hr.is_dir() else hr.parent
    hr_names = [path.relative_to(base).as_posix() for path in hr_paths]
    keys = [_key(name) for name in hr_names]
    if lr is None:
        if forms[0].channels != forms[1].channels:
            raise UserError(
                f"{hr}: low-resolution images of {forms[0].channels} channels cannot be made from "
                f"images of {forms[1].channels} (model.channels); name published ones with `lr`"
            )
        if both := mixture(hr_names):
            raise UserError(
                f"{hr}: holds low- and high-resolution images, such as {both[0]} and {both[1]}; "
                "name the folder of either kind, or the same folder twice: hr and lr in a "
                "configuration, --data and --lr of `liif test`"
            )
        uses = Counter(keys)  # a.png beside a.jpg keep their suffixes
        names = [k if uses[k] == 1 else n for k, n in zip(keys, hr_names, strict=True)]
        used = slice(limit or None)
        files = names[used], hr_paths[used]
        return PairSet(*files, None, scale, crop, degradation, forms, recipe)
    lr_paths = list_images(lr)
    if hr.is_file() and lr_name is None:
        wanted = read_name(hr.name).key
        lr_paths = [
            path
            for path in lr_paths
            if pair_key(path.name, {hr.stem}) == hr.stem or read_name(path.name).key == wanted
        ]
    lr_names = [path.relative_to(lr if lr.is_dir() else lr.parent).as_posix() for path in lr_paths]
    pattern = lr_name and lr_name.replace("{scale}", f"{scale[0]:g}")
    matches = match_pairs(lr_names, hr_names, lr, base, lr_name=pattern, scale=scale[0])
    matched = [lr_paths[i] for i, _ in matches]
    hr_paths, keys = [hr_paths[j] for _, j in matches], [keys[j] for _, j in matches]
    for lr_path, hr_path in zip(matched, hr_paths, strict=True):
        sizes = read_size(lr_path, forms[0]), read_size(hr_path, forms[1])
        _check_size(lr_path, hr_path, *sizes, scale)
    pairs = PairSet(keys, hr_paths, matched, scale, crop, forms=forms)
    return pairs[: limit or None]


def _check_size(lr_path: Path, hr_path: Path, lr: Size, hr: Size, scale: Scale) -> None:
    """Raise UserError if a low-resolution image has not the size of its partner at this scale,
    rounded down or up."""
    least, _ = reduced_size(hr, scale)
    most = tuple(math.ceil(n / s - 1e-9) for n, s in zip(hr, scale, strict=True))
    if all(low <= n <= high for low, n, high in zip(least, lr, most, strict=True)):
        return
    (h, w), (H, W) = lr, hr
    ratio = round(H / h, 2)
    hint = ""
    if lr == hr:
        hint = "; both have the same size, so they are a set for scale 1"
    elif abs(W / w - H / h) < 0.05 * ratio:
        hint = f"; it is {ratio:g} times as small"
    raise UserError(
        f"{lr_path} is {w}×{h} px, but {hr_path} ({W}×{H} px) at scale "
        f"{_format_scale(scale)} needs {least[1]}×{least[0]} px{hint}"
    )


def match_pairs(
    lr_names: list[str],
    hr_names: list[str],
    lr: Path,
    hr: Path,
    *,
    complete: bool = True,
    lr_name: str | None = None,
    scale: float | None = None,
) -> list[tuple[int, int]]:
    """Match low- and high-resolution images by name, without suffix and without a trailing x2, x3,
    … of the low-resolution name; or, if that leaves images without a partner, by the endings of
    names that other tools wrote; or by a pattern `lr_name`, as in `open_pairs`.

    Names are relative to the folders `lr` and `hr`, which messages name; `scale` selects among
    low-resolution images of several. Returns (index in lr_names, index in hr_names) of each pair,
    in the order of hr_names. Raises UserError if images have several partners, or, unless
    `complete` is false, none.
    """
    lr, hr = (path.parent if path.is_file() else path for path in (lr, hr))
    hr_keys = [_key(name) for name in hr_names]
    known = set(hr_keys)
    lr_keys = [pair_key(name, known) for name in lr_names]
    if lr_name is not None:
        named = {_by_pattern(lr_name, key).casefold(): key for key in hr_keys}
        lr_keys = [named.get(_key(name).casefold(), f"{name}/") for name in lr_names]
    elif sorted(lr_keys) != sorted(hr_keys) or len(known) < len(hr_keys) or lr == hr:
        found = match_by_endings(lr_names, hr_names, scale, is_one_folder=lr == hr)
        if found is not None:
            return found
        if lr == hr and mixture(hr_names):
            at = "" if scale is None else f" at scale {scale:g}"
            raise UserError(f"{lr}: not every image has one partner{at} by its name")
    for folder, names, keys in ((lr, lr_names, lr_keys), (hr, hr_names, hr_keys)):
        uses = Counter(keys)
        several = [n for n, key in zip(names, keys, strict=True) if key in known and uses[key] > 1]
        if several:
            raise UserError(
                f"{folder}: several images have the same name without suffix and scale: "
                f"{_listed(several)}; remove all but one"
            )
    by_key = {key: i for i, key in enumerate(lr_keys)}
    lonely = [str(hr / n) for n, key in zip(hr_names, hr_keys, strict=True) if key not in by_key]
    spare = [str(lr / n) for n, key in zip(lr_names, lr_keys, strict=True) if key not in known]
    if (complete and (lonely or spare)) or len(lonely) == len(hr_names):
        unmatched = [f"{len(n)} without a partner: {_listed(n)}" for n in (lonely, spare) if n]
        raise UserError(
            f"low-resolution images in {lr} and high-resolution images in {hr} do not match: "
            + "; ".join(unmatched)
            + ("" if lr_name else "; a pattern such as lr_name: '{}x2' says how they are named")
        )
    return [(by_key[key], j) for j, key in enumerate(hr_keys) if key in by_key]


def _by_pattern(pattern: str, key: str) -> str:
    """Return the path of a low-resolution image without suffix, of that of its partner."""
    path = PurePosixPath(key)
    return (path.parent / pattern.replace("{}", path.name)).as_posix()


def pair_key(lr_name: str, hr_keys: set[str]) -> str:
    """Return the high-resolution key of a low-resolution name: as it is, or without x2, x3, …"""
    key = _key(lr_name)
    return key if key in hr_keys else re.sub(r"x\d+(\.\d+)?$", "", key)


def _key(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if names[3:] else "")


def pair_scale(lr: Size, hr: Size, lr_path: Path, hr_path: Path) -> int:
    """Return the integer scale between two sizes; hr may have a remainder of less than the scale.
    Raises UserError if there is none."""
    scale = hr[0] // lr[0]
    if scale < 1 or (hr[0] // scale, hr[1] // scale) != lr:
        raise UserError(
            f"{lr_path} ({lr[1]}×{lr[0]} px) and {hr_path} ({hr[1]}×{hr[0]} px) are not related by "
            f"an integer scale{_rounding_hint(lr, hr)}"
        )
    return scale


def _rounding_hint(lr: Size, hr: Size) -> str:
    """Say how a pair whose size was rounded up can be used in training."""
    scale = max(1, round(hr[0] / lr[0]))
    least, _ = reduced_size(hr, (scale, scale))
    if any(n not in (low, low + 1) for low, n in zip(least, lr, strict=True)):
        return ""
    return f"; its size was rounded up: cut the small image to {least[1]}×{least[0]} px"


def reduced_size(hr: Size, scale: Scale) -> tuple[Size, Size]:
    """Return the sizes of the low-resolution image and of the high-resolution crop it covers."""
    # The small constant keeps 110 / 1.1 = 99.999… at 100, as in the published images.
    h, w = (math.floor(n / s + 1e-9) for n, s in zip(hr, scale, strict=True))
    return (h, w), (min(round(h * scale[0]), hr[0]), min(round(w * scale[1]), hr[1]))


def reduce(
    hr: Array,
    scale: Scale,
    path: Path,
    degradation: Degradation = PILLOW_BICUBIC,
    name: str = "",
) -> tuple[Array, Array]:
    """Degrade an image: return (lr, the crop of hr that lr covers). `name` determines what is
    random. Raises UserError if the image, which came from `path`, is too small for the scale."""
    size = (hr.shape[0], hr.shape[1])
    _check_scale(size, scale, f"{path}: ")
    lr_size, (H, W) = reduced_size(size, scale)
    return degradation.apply(hr[:H, :W], lr_size, stream_of(name)), hr[:H, :W]


def stream_of(name: str) -> np.random.Generator:
    """Return the generator of the random numbers of an evaluation image, keyed by its name."""
    key = np.frombuffer(
        hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:16], "<u8"
    )
    return np.random.Generator(np.random.Philox(key=key))


def check_pairs(
    pairs: PairSet, *, border: tuple[int, int] = (0, 0), least: int = 1, metric: str = ""
) -> None:
    """Raise UserError if the header of an image cannot be read, or says that the image is smaller
    than the crop, too small for the scale, or nothing of it is left inside the border: (rows,
    columns) of the high-resolution image that are dropped at each side before images are compared;
    or fewer than the `least` rows or columns that a metric needs.
    """
    for path in pairs.hr:
        size = full = read_size(path, pairs.forms[1])
        if pairs.crop is not None:
            _check_crop(size, pairs.crop, path)
            size = (pairs.crop, pairs.crop)
        if pairs.recipe is None:
            _check_scale(size, pairs.scale, f"{path}: " + ("a crop of " if pairs.crop else ""))
        lr, (H, W) = pairs.sizes(size)
        if min(lr) < 1:
            raise UserError(
                f"{path}: {full[1]}×{full[0]} px is too small for {pairs.recipe} at scale "
                f"{_format_scale(pairs.scale)}; lower the scale or use larger images"
            )
        if 2 * border[0] >= H or 2 * border[1] >= W:
            remedy = "remove the image" if pairs.crop is None else "raise valid.crop"
            used = "" if full == (H, W) else f", of which {W}×{H} px are used,"
            raise UserError(
                f"{path}: {full[1]}×{full[0]} px{used} is too small for the protocol at scale "
                f"{_format_scale(pairs.scale)}, which drops {border[0]} rows and {border[1]} "
                f"columns at each side; lower the scale, use protocol: none or {remedy}"
            )
        if min(H - 2 * border[0], W - 2 * border[1]) < least:
            remedy = "use larger images" if pairs.crop is None else "raise valid.crop"
            raise UserError(
                f"{path}: {metric} needs {least}×{least} px, more than the protocol leaves of "
                f"{W}×{H} px; {remedy} or leave {metric} out"
            )


def _check_crop(hr: Size, crop: int, path: Path) -> None:
    if min(hr) < crop:
        raise UserError(
            f"{path}: {hr[1]}×{hr[0]} px is too small for crop {crop}; lower valid.crop "
            "(null for whole images) or remove the image"
        )


def _check_scale(hr: Size, scale: Scale, start: str) -> None:
    if 0 in reduced_size(hr, scale)[0]:
        raise UserError(
            f"{start}{hr[1]}×{hr[0]} px is too small for scale {_format_scale(scale)}; lower the "
            "scale or use larger images"
        )


def _format_scale(scale: Scale) -> str:
    return ", ".join(dict.fromkeys(f"{s:g}" for s in scale))
