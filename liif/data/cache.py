"""A folder of images as a sequence of uint8 arrays: decoded on demand, in memory, or mapped.

Three ways, one interface (`ImageStore`): "none" decodes at every access; "memory" holds every
decoded image; "mmap" holds them in one file on disk, decoded once and mapped into memory, so that
all workers share it and a crop reads its own pages only (mapped.py).
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from liif.core.errors import UserError
from liif.core.sizes import Size
from liif.data.mapped import (
    ImageFiles,
    Skipped,
    broken_error,
    each_good,
    find_source,
    num_bytes,
    open_cache,
)
from liif.images.rgb8 import Pixels, image_size, read_image

logger = logging.getLogger("liif")


class ImageStore:
    """An immutable sequence of images: `store[i]` is uint8 (H, W, 3), read-only if it is shared.

    `names`: paths relative to the folder, POSIX; `sizes`: (H, W) of each; `skipped`: (name, reason)
    of each broken file left out. Pickling a store copies pixels only if it is a "memory" one.
    """

    def __init__(
        self,
        names: list[str],
        sizes: list[Size],
        skipped: Skipped,
        pixels: "Sequence[Pixels] | _FilePixels | _MappedPixels",
    ) -> None:
        self.names, self.sizes, self.skipped = names, sizes, skipped
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Pixels:
        return self._pixels[index]


class _FilePixels:
    """Images decoded at every access."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __getitem__(self, index: int) -> Pixels:
        try:
            return read_image(self._paths[index])
        except UserError as error:
            raise broken_error([str(error)]) from error


class _MappedPixels:
    """Views of a file of images end to end; a worker process opens the file anew."""

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
    progress: bool = False,
) -> ImageStore:
    """Open every image under a folder, or a single image file; see `list_images`.

    `cache_dir` holds the "mmap" caches: `$LIIF_CACHE`, else `$XDG_CACHE_HOME/liif`, else
    `~/.cache/liif`. With `skip_broken`, files that cannot be decoded are left out and logged, which
    takes decoding each file at the start; without it the first of them is an error, met when it is
    read at the latest. `progress` shows a bar while files are read.

    Raises UserError for a missing or empty folder, a broken file, or a cache that cannot be made.
    """
    source = find_source(path)
    if cache == "mmap":
        file, index = open_cache(source, cache_dir, skip_broken=skip_broken, progress=progress)
        store = ImageStore(*index, _MappedPixels(file, index.sizes))
    elif cache == "memory":
        store = _open_in_memory(source, skip_broken, progress)
    else:
        store = _open_files(source, skip_broken, progress)
    if skipped := store.skipped:
        first = ", ".join(name for name, _ in skipped[:3]) + (", …" if len(skipped) > 3 else "")
        logger.warning(
            "%s: %d of %d images are broken and left out: %s",
            *(os.path.abspath(path), len(skipped), len(source.files), first),
        )
    return store


def _open_in_memory(source: ImageFiles, skip_broken: bool, progress: bool) -> ImageStore:
    skipped: Skipped = []
    images = dict(each_good(read_image, source, skipped, skip_broken, progress))
    for image in images.values():
        image.flags.writeable = False
    sizes = [_size(image) for image in images.values()]
    return ImageStore([source.names[i] for i in images], sizes, skipped, list(images.values()))


def _open_files(source: ImageFiles, skip_broken: bool, progress: bool) -> ImageStore:
    def decoded_size(path: Path) -> Size:
        return _size(read_image(path))

    skipped: Skipped = []
    read = decoded_size if skip_broken else image_size
    sizes = dict(each_good(read, source, skipped, skip_broken, progress))
    pixels = _FilePixels([source.files[i] for i in sizes])
    return ImageStore([source.names[i] for i in sizes], list(sizes.values()), skipped, pixels)


def _size(image: Pixels) -> Size:
    return image.shape[0], image.shape[1]
