"""A folder of images as a sequence of uint8 arrays, decoded on demand, in memory or memory-mapped.

An `ImageStore` is the same to its user in all three modes: "none" decodes at every access; "memory"
holds every decoded image; "mmap" holds them in one file on disk, decoded once and memory-mapped, so
that all workers share it and a crop reads only its own pages (mapped.py).
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from liif.core.errors import UserError
from liif.core.section import Section
from liif.core.sizes import Size
from liif.data.mapped import (
    SkippedFiles,
    broken_error,
    find_image_files,
    num_bytes,
    open_cache,
    read_each,
)  # fmt: skip
from liif.images.rgb8 import Pixels, image_size, read_image

log = logging.getLogger("liif")


@dataclass(frozen=True)
class ImageStore:
    """An immutable sequence of images: `store[i]` is uint8 (H, W, 3), read-only if it is shared.
    Pickling copies the pixels of a "memory" store only."""

    names: list[str]  # paths relative to the folder, POSIX
    sizes: list[Size]  # (H, W) of each image
    skipped: SkippedFiles
    pixels: "Sequence[Pixels] | _FilePixels | _MappedPixels"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Pixels:
        return self.pixels[index]


class CacheConfig(Section):
    """Configuration of how training images are stored."""

    cache: Literal["none", "memory", "mmap", "device"] = "mmap"
    """none: decode at each access; memory: decode once into memory; mmap: decode once into a
    memory-mapped file; device: as mmap, and make samples on the device."""
    cache_dir: str | None = None
    """Folder of the memory-mapped files; by default $LIIF_CACHE, else ~/.cache/liif."""
    skip_broken: bool = False
    """Leave out files that cannot be read, with a warning, instead of stopping."""

    def open(self, path: Path) -> ImageStore:
        """Open every image under a folder; see `open_images`."""
        cache = "mmap" if self.cache == "device" else self.cache
        folder = None if self.cache_dir is None else Path(self.cache_dir).expanduser()
        return open_images(path, cache=cache, cache_dir=folder, skip_broken=self.skip_broken)


@dataclass(frozen=True)
class _FilePixels:
    """Images that are decoded at every access."""

    paths: list[Path]

    def __getitem__(self, index: int) -> Pixels:
        try:
            return read_image(self.paths[index])
        except UserError as error:
            raise broken_error([str(error)]) from error


class _MappedPixels:
    """Views of one file that holds all images end to end; unpickling maps the file again."""

    def __init__(self, path: Path, sizes: list[Size]) -> None:
        self._path, self._sizes = path, sizes
        self._ends: list[int] = np.cumsum([num_bytes(size) for size in sizes]).tolist()
        try:
            self._bytes: Pixels = np.asarray(np.memmap(path, np.uint8, mode="r"))
        except OSError as error:
            raise UserError(f"{path}: cannot open the image cache: {error.strerror}") from error

    def __getitem__(self, index: int) -> Pixels:
        size, end = self._sizes[index], self._ends[index]
        return self._bytes[end - num_bytes(size) : end].reshape(*size, 3)

    def __reduce__(self) -> "tuple[type[_MappedPixels], tuple[Path, list[Size]]]":
        return _MappedPixels, (self._path, self._sizes)


def open_images(
    path: Path,
    *,
    cache: Literal["none", "memory", "mmap"] = "none",
    cache_dir: Path | None = None,
    skip_broken: bool = False,
) -> ImageStore:
    """Open every image under a folder, or a single image file; see `list_images`.

    Args:
        path: a folder or an image file.
        cache: where decoded images are stored; see the top of this file.
        cache_dir: folder of the "mmap" caches; by default `$LIIF_CACHE`, else
            `$XDG_CACHE_HOME/liif`, else `~/.cache/liif`.
        skip_broken: leave out and log files that cannot be decoded, which decodes every file
            first. Without it a broken file is an error here or when it is read.

    Raises UserError if the folder is missing or empty, a file is broken, or the cache cannot be
    written.
    """
    files = find_image_files(path)
    skipped: SkippedFiles = []
    if cache == "mmap":
        file, index = open_cache(files, cache_dir, skip_broken=skip_broken)
        store, skipped = ImageStore(*index, _MappedPixels(file, index.sizes)), index.skipped
    elif cache == "memory":
        images = dict(read_each(read_image, files, skipped, skip_broken))
        for image in images.values():
            image.flags.writeable = False
        names, sizes = [files.names[i] for i in images], [_size(images[i]) for i in images]
        store = ImageStore(names, sizes, skipped, list(images.values()))
    else:
        read = _decoded_size if skip_broken else image_size
        found = dict(read_each(read, files, skipped, skip_broken))
        pixels = _FilePixels([files.paths[i] for i in found])
        store = ImageStore([files.names[i] for i in found], list(found.values()), skipped, pixels)
    if skipped:
        first = ", ".join(name for name, _ in skipped[:3]) + (", …" if len(skipped) > 3 else "")
        log.warning(
            "%s: %d of %d images are broken and left out: %s",
            *(os.path.abspath(path), len(skipped), len(files.paths), first),
        )
    return store


def _decoded_size(path: Path) -> Size:
    return _size(read_image(path))


def _size(image: Pixels) -> Size:
    return image.shape[0], image.shape[1]
