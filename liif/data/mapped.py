"""A cache of decoded images on disk, in one file that is memory-mapped.

A cache is a folder with `pixels.u8`, `pixels.u16` or `pixels.f32` (all images end to end) and
`index.json`. Its name is derived from the image files and from what is kept of them, so changed
files lead to a new cache. It is built under a temporary name and
renamed when complete, so a cache that exists is complete. A lock makes processes that need the same
cache wait for the one that builds it.
"""

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from liif.core.errors import UserError
from liif.core.files import check_room
from liif.core.lock import file_lock
from liif.core.progress import progress_bar
from liif.core.sizes import Size
from liif.core.threads import available_cores
from liif.images.channels import (
    OTHER_CHANNELS,
    RGB8,
    Array,
    PixelFormat,
    read_header,
    read_pixels,
    read_size,
)
from liif.images.rgb8 import list_images, tell_passed_over

log = logging.getLogger("liif")
T = TypeVar("T")
SkippedFiles = list[tuple[str, str]]
"""(name, reason) of each broken file that was left out."""

_FORMAT = 1  # increase it when the files' layout or the result of `read_pixels` changes
_THREADS = min(8, available_cores())  # Pillow releases Python's lock while it decodes


class ImageFiles(NamedTuple):
    """The image files under `root`, a folder or one file, with their relative POSIX names."""

    root: Path
    paths: list[Path]
    names: list[str]


class CacheIndex(NamedTuple):
    """The images in a cache, in the order of its pixels, and the files left out."""

    names: list[str]
    sizes: list[Size]
    skipped: SkippedFiles
    deep: int
    """Number of files with more bits than are kept."""


def find_image_files(path: Path, exclude: Sequence[str] = ()) -> ImageFiles:
    """List the images under a folder, or a single one; see `list_images`. The number of other
    files is logged, and so are names of `exclude`, whose files are left out, that are not there."""
    paths = list_images(path)
    if paths[0].suffix.lower() != ".npy":
        tell_passed_over(path)
    base = path if path.is_dir() else path.parent
    names = {file.relative_to(base).as_posix(): file for file in paths}
    kept = {name: file for name, file in names.items() if name not in exclude}
    if unknown := [name for name in exclude if name not in names]:
        log.warning("%s: exclude: no such image: %s", path, ", ".join(unknown))
    if not kept:
        raise UserError(f"{path}: exclude: leaves no image; remove names from it")
    return ImageFiles(path, [*kept.values()], [*kept])


def open_cache(
    files: ImageFiles, cache_dir: Path | None, form: PixelFormat = RGB8, *, skip_broken: bool
) -> tuple[Path, CacheIndex]:
    """Return the pixel file of `files` and its index; build the cache if there is none. Arguments
    and errors are those of `open_images`."""
    default = os.environ.get("LIIF_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "liif"
    )
    cache_dir = Path(os.path.abspath(cache_dir or Path(default).expanduser()))
    place = os.fsencode(os.path.abspath(files.root))
    if form != RGB8:  # caches of several formats of a folder are independent of each other
        place += repr(tuple(form)).encode()
    folder_key = hashlib.sha256(place).hexdigest()[:16]
    target = cache_dir / f"{folder_key}-{_fingerprint(files)}"
    index = _read_index(target, files, form)
    if index is None:
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            with _lock(cache_dir / f"{folder_key}.lock") as is_locked:
                # Another process may have built it meanwhile.
                index = _read_index(target, files, form)
                if index is None:
                    index = _rebuild(target, files, form, skip_broken, is_locked)
        except OSError as error:
            raise UserError(
                f"{cache_dir}: cannot write the image cache here: {error.strerror or error}; set "
                "the environment variable LIIF_CACHE to another folder, or `cache: none`"
            ) from error
    if index.skipped and not skip_broken:
        raise broken_error([reason for _, reason in index.skipped])
    return target / pixel_file(form), index


def read_each(
    read: Callable[[Path], T], files: ImageFiles, skipped: SkippedFiles, skip_broken: bool
) -> Iterator[tuple[int, T]]:
    """Yield (position, result) of every file that `read` accepts; add the others to `skipped`.
    Raises UserError if a file is broken (unless `skip_broken`), or all are."""
    results, total = _read_in_order(read, files.paths), len(files.paths)
    bar = progress_bar(results, desc=f"reading {files.root}", total=total, unit="image")
    for i, result in enumerate(bar):
        if not isinstance(result, UserError):
            yield i, result
        elif skip_broken:
            skipped.append((files.names[i], str(result)))
        else:
            raise broken_error([str(result)]) from result
    if len(skipped) == total:
        place = os.path.abspath(files.root)
        raise UserError(f"{place}: all {total} images are broken; the first: {skipped[0][1]}")


def pixel_file(form: PixelFormat) -> str:
    """Return the name of the file of pixels: pixels.u8, pixels.u16 or pixels.f32."""
    return f"pixels.{form.dtype.kind}{8 * form.dtype.itemsize}"


def count_deep(files: ImageFiles, form: PixelFormat) -> int:
    """Return how many files have more bits per channel than are kept, from their headers."""
    if form.bits != 8:
        return 0
    headers = _read_in_order(read_header, files.paths)
    return sum(not isinstance(header, UserError) and header.bits > 8 for header in headers)


def broken_error(reasons: list[str]) -> UserError:
    """Return one error for several broken files, which names the first."""
    count = f" (the first of {len(reasons)} such files)" if len(reasons) > 1 else ""
    remedy = "replace it, or leave it out with `skip_broken: true`"
    if reasons[0].endswith(OTHER_CHANNELS):  # all files are likely to be alike
        remedy = "set it to what the images have, or replace them"
    return UserError(f"{reasons[0]}{count}; {remedy}")


def _rebuild(
    target: Path, files: ImageFiles, form: PixelFormat, skip_broken: bool, is_locked: bool
) -> CacheIndex:
    """Build the cache `target`; remove older caches of its folder and, if the lock is held, what
    interrupted builds have left."""
    siblings = f"{target.name.split('-')[0]}-*"
    if is_locked:
        for leftover in target.parent.glob(f"{siblings}.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
    temporary = target.with_name(f"{target.name}-{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir()
        index = _build(temporary, files, form, skip_broken)
        try:
            temporary.rename(target)
        except OSError:  # it exists: damaged, incomplete, or built meanwhile without a lock
            if (ready := _read_index(target, files, form)) is not None:
                return ready
            shutil.rmtree(target)
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for stale in target.parent.glob(siblings):
        if stale != target and stale.suffix != ".tmp":
            shutil.rmtree(stale, ignore_errors=True)
    return index


def _build(folder: Path, files: ImageFiles, form: PixelFormat, skip_broken: bool) -> CacheIndex:
    """Decode all images in parallel and write them to `folder` one by one."""
    sizes = _read_in_order(partial(read_size, form=form), files.paths)
    needed = sum(form.num_bytes(size) for size in sizes if not isinstance(size, UserError))
    index = CacheIndex([], [], [], count_deep(files, form))
    with (folder / pixel_file(form)).open("wb") as file:
        _check_cache_room(folder, needed)
        read = _reader(form)
        for i, image in read_each(read, files, index.skipped, skip_broken):
            _check_cache_room(folder, needed - file.tell())  # other processes may fill the disk
            file.write(image.data)
            index.names.append(files.names[i])
            index.sizes.append((image.shape[0], image.shape[1]))
        file.flush()
        os.fsync(file.fileno())  # a power cut must not leave a file of zeros
    about = {"channels": form.channels, "dtype": form.dtype.name, "range": form.range}
    content = {"source": os.path.abspath(files.root), **about, **index._asdict()}
    (folder / "index.json").write_text(json.dumps(content), encoding="utf-8")
    return index


def _reader(form: PixelFormat) -> Callable[[Path], Array]:
    return partial(read_pixels, form=form)


def _read_index(folder: Path, files: ImageFiles, form: PixelFormat) -> CacheIndex | None:
    """Return the index of a cache; None if it is missing, damaged, or skips a readable file. Caches
    of version 0.2, which all have 8-bit RGB, do not state channels and bits."""
    try:
        content = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        file_size = (folder / pixel_file(form)).stat().st_size
        sizes = [(int(h), int(w)) for h, w in content["sizes"]]
        skipped = [(str(name), str(reason)) for name, reason in content["skipped"]]
        kind = content.get("channels", 3), content.get("dtype", "uint8")
        deep = content["deep"] if "deep" in content else count_deep(files, form)
        index = CacheIndex([str(name) for name in content["names"]], sizes, skipped, int(deep))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A file skipped for a temporary reason (permissions, an unmounted disk) is to be included.
    missed = {name for name, _ in skipped}
    paths = [path for path, name in zip(files.paths, files.names, strict=True) if name in missed]
    is_current = (
        kind == (form.channels, form.dtype.name)
        and len(index.names) == len(sizes)
        and file_size == sum(map(form.num_bytes, sizes))
        and all(isinstance(result, UserError) for result in _read_in_order(_reader(form), paths))
    )
    return index if is_current else None


def _read_in_order(read: Callable[[Path], T], paths: list[Path]) -> Iterator[T | UserError]:
    """Yield `read` of each file in order, computed in threads; few are in flight, which bounds the
    memory."""

    def attempt(path: Path) -> T | UserError:
        try:
            return read(path)
        except UserError as error:
            return error

    pending: deque[Future[T | UserError]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for path in paths:
            pending.append(pool.submit(attempt, path))
            if len(pending) > _THREADS + 2:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def _lock(path: Path) -> Generator[bool, None, None]:
    """Hold a lock between processes; yield False where the file system has no locks."""
    with file_lock(path) as is_locked:
        if is_locked is not False:
            yield bool(is_locked)
            return
    log.info("%s: waiting for the process that builds this image cache", path)
    with file_lock(path, wait=True) as is_locked:
        yield bool(is_locked)


def _fingerprint(files: ImageFiles) -> str:
    """Return a hash that changes when a file is added, removed, renamed or rewritten."""
    stats = [path.stat() for path in files.paths]
    rows = [(n, s.st_size, s.st_mtime_ns) for n, s in zip(files.names, stats, strict=True)]
    return hashlib.sha256(json.dumps([_FORMAT, rows]).encode()).hexdigest()[:16]


def _check_cache_room(folder: Path, needed: int) -> None:
    try:
        check_room(folder.parent, needed)
    except UserError as error:
        hint = "for the image cache (the environment variable LIIF_CACHE), or set `cache: none`"
        raise UserError(f"{error} {hint}") from None
