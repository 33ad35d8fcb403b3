"""A folder of images as a sequence of arrays, decoded on demand, in memory or memory-mapped.

An `ImageStore` is the same to its user in all three modes: "none" decodes at every access; "memory"
holds every decoded image; "mmap" holds them in one file on disk, decoded once and memory-mapped, so
that all workers share it and a crop reads only its own pages (mapped.py).
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from liif.core.errors import UserError
from liif.core.section import Section
from liif.core.sizes import Size
from liif.data.mapped import (
    SkippedFiles,
    broken_error,
    count_deep,
    find_image_files,
    open_cache,
    read_each,
)
from liif.images.channels import RGB8, Array, Bits, PixelFormat, read_pixels, read_size

log = logging.getLogger("liif")


@dataclass(frozen=True)
class ImageStore:
    """An immutable sequence of images: `store[i]` is (H, W, C) of the format's dtype, read-only if
    it is shared. Pickling copies the pixels of a "memory" store only."""

    names: list[str]  # paths relative to the folder, POSIX
    sizes: list[Size]  # (H, W) of each image
    skipped: SkippedFiles
    pixels: "Sequence[Array] | _FilePixels | _MappedPixels | _JoinedPixels"
    form: PixelFormat = RGB8

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Array:
        return self.pixels[index]


class PixelConfig(Section):
    """Configuration of what is kept of image files."""

    bits: Bits = 8
    """Bits per channel that are kept. 8: files of 16 bits are reduced, with a warning. 16: files of
    8 bits are refused. 32: floating-point and all other numbers; needs `range`."""
    range: tuple[float, float] | None = None
    """The values that stand for 0 and 1, [low, high]; by default 0 and the largest integer of
    `bits`. With it images are kept as float32."""

    @pydantic.model_validator(mode="after")
    def _range_is_known(self) -> "PixelConfig":
        check_pixel_range(self.bits, self.range)
        return self

    def pixel_format(self, channels: int) -> PixelFormat:
        """Return the format of images of so many channels."""
        return PixelFormat(channels, self.bits, self.range)


def check_pixel_range(bits: int | None, bounds: tuple[float, float] | None) -> None:
    """Raise ValueError, for a validator of pydantic, if the range is empty, missing, or beyond the
    values that files of so many bits hold."""
    if bounds is not None and not bounds[0] < bounds[1]:
        raise ValueError(f"range: must be [low, high] with low < high, not {list(bounds)}")
    if bits in (8, 16) and bounds is not None and not 0 <= bounds[0] < bounds[1] < 2**bits:
        raise ValueError(
            f"range: must be within the values of bits: {bits}, 0 to {2**bits - 1}, not "
            f"{list(bounds)}; state the bits of the files"
        )
    if bits == 32 and bounds is None:
        raise ValueError("range: must be given for bits: 32: the values that stand for 0 and 1")


class CacheConfig(PixelConfig):
    """Configuration of how training images are stored."""

    cache: Literal["none", "memory", "mmap", "device"] = "mmap"
    """none: decode at each access; memory: decode once into memory; mmap: decode once into a
    memory-mapped file; device: as mmap, and make samples on the device (8-bit RGB only)."""
    cache_dir: str | None = None
    """Folder of the memory-mapped files; by default $LIIF_CACHE, else ~/.cache/liif."""
    skip_broken: bool = False
    """Leave out files that cannot be read, with a warning, instead of stopping."""

    def open(self, path: Path, channels: int = 3, *, exclude: Sequence[str] = ()) -> ImageStore:
        """Open every image under a folder; see `open_images`."""
        cache = "mmap" if self.cache == "device" else self.cache
        folder = None if self.cache_dir is None else Path(self.cache_dir).expanduser()
        return open_images(
            path, self.pixel_format(channels), cache=cache, cache_dir=folder,
            skip_broken=self.skip_broken, exclude=exclude,
        )  # fmt: skip


@dataclass(frozen=True)
class _FilePixels:
    """Images that are decoded at every access."""

    paths: list[Path]
    form: PixelFormat

    def __getitem__(self, index: int) -> Array:
        try:
            return read_pixels(self.paths[index], self.form)
        except UserError as error:
            raise broken_error([str(error)]) from error


class _MappedPixels:
    """Views of one file that holds all images end to end; unpickling maps the file again."""

    def __init__(self, path: Path, sizes: list[Size], form: PixelFormat) -> None:
        self._path, self._sizes, self._form = path, sizes, form
        counts = [form.num_bytes(size) // form.dtype.itemsize for size in sizes]
        self._ends: list[int] = np.cumsum(counts).tolist()
        try:
            self._values: Array = np.asarray(np.memmap(path, form.dtype, mode="r"))
        except OSError as error:
            raise UserError(f"{path}: cannot open the image cache: {error.strerror}") from error

    def __getitem__(self, index: int) -> Array:
        (height, width), end = self._sizes[index], self._ends[index]
        channels = self._form.channels
        first = end - height * width * channels
        return self._values[first:end].reshape(height, width, channels)

    def __reduce__(self) -> "tuple[type[_MappedPixels], tuple[Path, list[Size], PixelFormat]]":
        return _MappedPixels, (self._path, self._sizes, self._form)


@dataclass(frozen=True)
class _JoinedPixels:
    """The images of several stores, of some repeatedly."""

    stores: list[ImageStore]
    entries: list[tuple[int, int]]
    """(store, index in it) of each image."""

    def __getitem__(self, index: int) -> Array:
        store, at = self.entries[index]
        return self.stores[store][at]


def join_stores(parts: Sequence[tuple[Path, ImageStore, int]]) -> ImageStore:
    """Return one store of the images of several folders; each part is a folder, its store, and how
    many times in a row each of its images appears. Names start with their folder."""
    stores = [store for _, store, _ in parts]
    entries = [
        (k, i)
        for k, (_, store, times) in enumerate(parts)
        for i in range(len(store))
        for _ in range(times)
    ]
    names = [f"{parts[k][0]}/{stores[k].names[i]}" for k, i in entries]
    sizes = [stores[k].sizes[i] for k, i in entries]
    skipped = [(f"{path}/{name}", why) for path, store, _ in parts for name, why in store.skipped]
    return ImageStore(names, sizes, skipped, _JoinedPixels(stores, entries), stores[0].form)


def open_images(
    path: Path,
    form: PixelFormat = RGB8,
    *,
    cache: Literal["none", "memory", "mmap"] = "none",
    cache_dir: Path | None = None,
    skip_broken: bool = False,
    exclude: Sequence[str] = (),
) -> ImageStore:
    """Open every image under a folder, or a single image file; see `list_images`.

    Args:
        path: a folder or an image file.
        form: what is kept of the files.
        cache: where decoded images are stored; see the top of this file.
        cache_dir: folder of the "mmap" caches; by default `$LIIF_CACHE`, else
            `$XDG_CACHE_HOME/liif`, else `~/.cache/liif`.
        skip_broken: leave out and log files that cannot be decoded, which decodes every file
            first. Without it a broken file is an error here or when it is read.
        exclude: names of files that are left out, relative to the folder.

    Warns if files have more bits than are kept. Raises UserError if the folder is missing or empty,
    a file is broken or has not this format, or the cache cannot be written.
    """
    files = find_image_files(path, exclude)
    skipped: SkippedFiles = []
    if cache == "mmap":
        file, index = open_cache(files, cache_dir, form, skip_broken=skip_broken)
        names, sizes, skipped, deep = index
        store = ImageStore(names, sizes, skipped, _MappedPixels(file, sizes, form), form)
    elif cache == "memory":
        deep = count_deep(files, form)
        images = dict(read_each(partial(read_pixels, form=form), files, skipped, skip_broken))
        for image in images.values():
            image.flags.writeable = False
        names, sizes = [files.names[i] for i in images], [_size(images[i]) for i in images]
        store = ImageStore(names, sizes, skipped, list(images.values()), form)
    else:
        deep = count_deep(files, form)
        read = partial(_decoded_size if skip_broken else read_size, form=form)
        found = dict(read_each(read, files, skipped, skip_broken))
        names, pixels = [files.names[i] for i in found], [files.paths[i] for i in found]
        store = ImageStore(names, list(found.values()), skipped, _FilePixels(pixels, form), form)
    if deep:
        warn_of_dropped_bits(path, deep, len(files.paths))
    if skipped:
        first = ", ".join(name for name, _ in skipped[:3]) + (", …" if len(skipped) > 3 else "")
        log.warning(
            "%s: %d of %d images are broken and left out: %s",
            *(os.path.abspath(path), len(skipped), len(files.paths), first),
        )
    return store


def warn_of_dropped_bits(folder: Path, count: int, total: int) -> None:
    """Warn that files have more bits than are kept."""
    log.warning(
        "%s: %d of %d images have 16 bits per channel, of which 8 are kept; `bits: 16` keeps all",
        *(os.path.abspath(folder), count, total),
    )


def _decoded_size(path: Path, form: PixelFormat) -> Size:
    return _size(read_pixels(path, form))


def _size(image: Array) -> Size:
    return image.shape[0], image.shape[1]
