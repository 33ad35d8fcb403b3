"""A folder of images as a sequence of uint8 arrays, decoded on demand, in memory or memory-mapped.

An `ImageStore` is the same to its user in all three modes: "none" decodes at every access; "memory"
holds every decoded image; "mmap" holds them in one file on disk, decoded once and memory-mapped, so
that all workers share it and a crop reads only its own pages (mapped.py).
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from liif.core.errors import UserError
from liif.core.section import Section
from liif.core.sizes import Size
from liif.data.mapped import (
    ImageFiles,
    SkippedFiles,
    broken_error,
    find_image_files,
    num_bytes,
    open_cache,
    read_each,
)
from liif.images.rgb8 import Pixels, image_size, read_image

logger = logging.getLogger("liif")


class ImageStore:
    """An immutable sequence of images: `store[i]` is uint8 (H, W, 3), read-only if it is shared.

    `names`: paths relative to the folder, POSIX; `sizes`: (H, W) of each; `skipped`: (name, reason)
    of each broken file left out. Pickling copies the pixels of a "memory" store only.
    """

    def __init__(
        self,
        names: list[str],
        sizes: list[Size],
        skipped: SkippedFiles,
        pixels: "Sequence[Pixels] | _FilePixels | _MappedPixels",
    ) -> None:
        self.names, self.sizes, self.skipped = names, sizes, skipped
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Pixels:
        return self._pixels[index]


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
        return open_images(
            path,
            cache="mmap" if self.cache == "device" else self.cache,
            cache_dir=None if self.cache_dir is None else Path(self.cache_dir).expanduser(),
            skip_broken=self.skip_broken,
        )


class _FilePixels:
    """Images that are decoded at every access."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __getitem__(self, index: int) -> Pixels:
        try:
            return read_image(self._paths[index])
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
        cache: where decoded images are kept; see the top of this file.
        cache_dir: folder of the "mmap" caches; by default `$LIIF_CACHE`, else
            `$XDG_CACHE_HOME/liif`, else `~/.cache/liif`.
        skip_broken: leave out and log files that cannot be decoded, which decodes every file
            first. Without it a broken file is an error here or when it is read.

    Raises:
        UserError: the folder is missing or empty, a file is broken, or the cache cannot be written.
    """
    files = find_image_files(path)
    if cache == "mmap":
        file, index = open_cache(files, cache_dir, skip_broken=skip_broken)
        store = ImageStore(*index, _MappedPixels(file, index.sizes))
    elif cache == "memory":
        store = _open_in_memory(files, skip_broken)
    else:
        store = _open_files(files, skip_broken)
    if skipped := store.skipped:
        first = ", ".join(name for name, _ in skipped[:3]) + (", …" if len(skipped) > 3 else "")
        logger.warning(
            "%s: %d of %d images are broken and left out: %s",
            *(os.path.abspath(path), len(skipped), len(files.paths), first),
        )
    return store


def _open_in_memory(files: ImageFiles, skip_broken: bool) -> ImageStore:
    skipped: SkippedFiles = []
    images = dict(read_each(read_image, files, skipped, skip_broken))
    for image in images.values():
        image.flags.writeable = False
    sizes = [_size(image) for image in images.values()]
    return ImageStore([files.names[i] for i in images], sizes, skipped, list(images.values()))


def _open_files(files: ImageFiles, skip_broken: bool) -> ImageStore:
    def decoded_size(path: Path) -> Size:
        return _size(read_image(path))

    skipped: SkippedFiles = []
    read = decoded_size if skip_broken else image_size
    sizes = dict(read_each(read, files, skipped, skip_broken))
    pixels = _FilePixels([files.paths[i] for i in sizes])
    return ImageStore([files.names[i] for i in sizes], list(sizes.values()), skipped, pixels)


def _size(image: Pixels) -> Size:
    return image.shape[0], image.shape[1]
