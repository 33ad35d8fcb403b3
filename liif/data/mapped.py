"""Decoded images in one file on disk, to be mapped into memory: made once, found again, made anew.

A cache is one folder, named by what it was made from, with `pixels.u8` (all images end to end) and
`index.json`. It is built under a temporary name and renamed when complete: a cache that is there
is whole. Processes that want the same one build it one after the other, so only the first does.
"""

import hashlib
import json
import logging
import os
import shutil
import sys
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from liif.core.errors import UserError
from liif.core.sizes import Size
from liif.images.rgb8 import image_size, list_images, read_image

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger("liif")
T = TypeVar("T")
Skipped = list[tuple[str, str]]  # (name, reason)

_FORMAT = 1  # raise it when the files change, or what `read_image` makes of an image
_THREADS = min(8, os.cpu_count() or 1)  # Pillow decodes outside Python's lock


class ImageFiles(NamedTuple):
    """The image files under `path`, a folder or one file, with their relative POSIX names."""

    path: Path
    files: list[Path]
    names: list[str]


class Index(NamedTuple):
    """What a cache holds, in the order of its pixels, and what was left out."""

    names: list[str]
    sizes: list[Size]
    skipped: Skipped


def find_source(path: Path) -> ImageFiles:
    """The images under a folder, or a single one; raises UserError as `list_images` does."""
    files = list_images(path)
    root = path if path.is_dir() else path.parent
    return ImageFiles(path, files, [file.relative_to(root).as_posix() for file in files])


def open_cache(
    source: ImageFiles, cache_dir: Path | None, *, skip_broken: bool, progress: bool
) -> tuple[Path, Index]:
    """The file of pixels of `source`, built if there is none yet, and its index.

    `cache_dir` is `$LIIF_CACHE` unless given, else `$XDG_CACHE_HOME/liif`, else `~/.cache/liif`.
    Raises UserError for a broken file (unless `skip_broken`), no room, or a folder closed to us.
    """
    cache_dir = Path(os.path.abspath(cache_dir or _default_cache_dir()))
    folder_key = hashlib.sha256(os.fsencode(os.path.abspath(source.path))).hexdigest()[:16]
    target = cache_dir / f"{folder_key}-{_fingerprint(source)}"
    index = _read_index(target, source)
    if index is None:
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            with _lock(cache_dir / f"{folder_key}.lock") as is_locked:
                index = _read_index(target, source)  # another process may have built it meanwhile
                if index is None:
                    index = _rebuild(target, source, skip_broken, progress, is_locked)
        except OSError as error:
            raise UserError(
                f"{cache_dir}: cannot write the image cache here: {error.strerror or error}; set "
                "the environment variable LIIF_CACHE to another folder, or `cache: none`"
            ) from error
    if index.skipped and not skip_broken:
        raise broken_error([reason for _, reason in index.skipped])
    return target / "pixels.u8", index


def each_good(
    read: Callable[[Path], T],
    source: ImageFiles,
    skipped: Skipped,
    skip_broken: bool,
    progress: bool = False,
) -> Iterator[tuple[int, T]]:
    """(position, result) of every file that `read` can read; the others are added to `skipped`."""
    results = tqdm(
        _in_order(read, source.files),
        desc=f"reading {source.path}",
        total=len(source.files),
        unit="image",
        disable=not progress,
    )
    for i, result in enumerate(results):
        if not isinstance(result, UserError):
            yield i, result
        elif skip_broken:
            skipped.append((source.names[i], str(result)))
        else:
            raise broken_error([str(result)]) from result
    if len(skipped) == len(source.files):
        raise UserError(
            f"{os.path.abspath(source.path)}: all {len(skipped)} images are broken; the first: "
            f"{skipped[0][1]}"
        )


def num_bytes(size: Size) -> int:
    """Bytes of one image's pixels."""
    return size[0] * size[1] * 3


def broken_error(reasons: list[str]) -> UserError:
    """One error for all of `reasons`, naming the first."""
    count = f" (the first of {len(reasons)} such files)" if len(reasons) > 1 else ""
    return UserError(f"{reasons[0]}{count}; replace it, or leave it out with `skip_broken: true`")


def _rebuild(
    target: Path, source: ImageFiles, skip_broken: bool, progress: bool, is_locked: bool
) -> Index:
    """Make the cache `target`; remove what it supersedes and, if locked, what dead builds left."""
    siblings = f"{target.name.split('-')[0]}-*"
    if is_locked:
        for leftover in target.parent.glob(f"{siblings}.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
    temporary = target.with_name(f"{target.name}-{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir()
        index = _build(temporary, source, skip_broken, progress)
        try:
            temporary.rename(target)
        except OSError:  # one is there: damaged, incomplete, or, without locks, made meanwhile
            if (ready := _read_index(target, source)) is not None:
                return ready
            shutil.rmtree(target)
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for stale in target.parent.glob(siblings):
        if stale != target and stale.suffix != ".tmp":
            shutil.rmtree(stale, ignore_errors=True)
    return index


def _build(folder: Path, source: ImageFiles, skip_broken: bool, progress: bool) -> Index:
    """Decode all images into `folder`, in parallel but written one by one."""
    headers = _in_order(image_size, source.files)
    needed = sum(num_bytes(size) for size in headers if not isinstance(size, UserError))
    index = Index([], [], [])
    with (folder / "pixels.u8").open("wb") as file:
        _check_space(folder, needed)
        for i, image in each_good(read_image, source, index.skipped, skip_broken, progress):
            _check_space(folder, needed - file.tell())  # others may be filling the disk
            file.write(image.data)
            index.names.append(source.names[i])
            index.sizes.append((image.shape[0], image.shape[1]))
        file.flush()
        os.fsync(file.fileno())  # a power cut must not leave a whole-looking file of zeros
    content = {"source": os.path.abspath(source.path), **index._asdict()}
    (folder / "index.json").write_text(json.dumps(content), encoding="utf-8")
    return index


def _read_index(folder: Path, source: ImageFiles) -> Index | None:
    """The index of a cache; None if there is none, it is damaged, or it could be more complete."""
    try:
        content = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        file_size = (folder / "pixels.u8").stat().st_size
        sizes = [(int(h), int(w)) for h, w in content["sizes"]]
        skipped = [(str(name), str(reason)) for name, reason in content["skipped"]]
        index = Index([str(name) for name in content["names"]], sizes, skipped)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if len(index.names) != len(sizes) or file_size != sum(num_bytes(size) for size in sizes):
        return None
    # A file skipped for a passing reason (closed to the reader, disk away) must not stay away.
    missed = {name for name, _ in skipped}
    files = [file for file, name in zip(source.files, source.names, strict=True) if name in missed]
    if not all(isinstance(result, UserError) for result in _in_order(read_image, files)):
        return None
    return index


def _in_order(read: Callable[[Path], T], files: list[Path]) -> Iterator[T | UserError]:
    """`read` of each file in threads, in order, few at a time so that memory stays bounded."""

    def attempt(file: Path) -> T | UserError:
        try:
            return read(file)
        except UserError as error:
            return error

    pending: deque[Future[T | UserError]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for file in files:
            pending.append(pool.submit(attempt, file))
            if len(pending) > _THREADS + 2:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def _lock(path: Path) -> Generator[bool, None, None]:
    """Wait for, then hold, a lock between processes; False where the system has none to give."""
    with path.open("ab") as file:
        is_locked = False
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_locked = True
            except BlockingIOError:
                logger.info("%s: waiting for the process that builds this image cache", path)
                fcntl.flock(file, fcntl.LOCK_EX)
                is_locked = True
            except OSError:  # some network disks know no locks
                pass
        yield is_locked


def _fingerprint(source: ImageFiles) -> str:
    """Changes when a file is added, removed, renamed or rewritten."""
    stats = [file.stat() for file in source.files]
    rows = [(n, s.st_size, s.st_mtime_ns) for n, s in zip(source.names, stats, strict=True)]
    return hashlib.sha256(json.dumps([_FORMAT, rows]).encode()).hexdigest()[:16]


def _default_cache_dir() -> Path:
    if own := os.environ.get("LIIF_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "liif"


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder.parent}: the image cache needs {needed:,} bytes here and {free:,} are free; "
            "set the environment variable LIIF_CACHE to a folder with more room, or `cache: none`"
        )
