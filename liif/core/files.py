"""Atomic writes of files, which survive kill signals, full disks and power cuts; JSON text."""

import glob
import hashlib
import json
import math
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from liif.core.errors import UserError


def write_atomically(path: Path, data: bytes | memoryview, keep: Path | None = None) -> None:
    """Write a file completely or not at all: to a temporary file in the same folder, which is
    flushed, read back, compared and renamed. The old content stays under the name `keep`, if given.
    Raises UserError if the file cannot be written; its old content is then unchanged."""
    temporary = path.with_name(f".{_short_name(path)}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        temporary.unlink(missing_ok=True)  # left by a process of the same number, or a link
        with temporary.open("xb+") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if not _holds(file, data):
                raise OSError("it does not read back as written; check the disk")
        if keep is not None:
            _link(path, keep)
        temporary.replace(path)
        with suppress(OSError):  # so that the rename survives a power cut
            descriptor = os.open(path.parent, os.O_RDONLY)
            with suppress(OSError):
                os.fsync(descriptor)
            os.close(descriptor)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror or error}. "
            "Its old content is unchanged; make room or choose another folder."
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write several files as `write_atomically` does; one that cannot be written does not keep the
    others from it. Raises UserError for those that could not be written, when all are done."""
    failures: list[str] = []
    for path, data in contents.items():
        try:
            write_atomically(path, data)
        except UserError as error:
            failures.append(str(error))
    if failures:
        raise UserError("\n  ".join(failures))


def _short_name(path: Path) -> str:
    """Return the name of a file, or a hash of it where the name of a temporary file, which is
    longer, may be too long: most disks allow 255 bytes."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= 200 else hashlib.sha256(name).hexdigest()[:32]


def _holds(file: IO[bytes], data: bytes | memoryview) -> bool:
    """Return whether a file consists of these bytes."""
    if sys.platform == "linux":  # read from the disk instead of the page cache
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    file.seek(0)
    part = 2**20
    same = all(file.read(part) == bytes(data[i : i + part]) for i in range(0, len(data), part))
    return same and not file.read(1)


def _link(path: Path, other: Path) -> None:
    """Hard-link `path` to `other`, replacing it; do nothing on file systems without hard links."""
    name = other.with_name(f".{_short_name(other)}.{os.getpid()}.tmp")
    with suppress(OSError):
        _remove_stale(other)
        name.unlink(missing_ok=True)
        name.hardlink_to(path)
        name.replace(other)
        name.unlink(missing_ok=True)  # remains if both names were the same file


def _remove_stale(path: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote this file."""
    for stale in path.parent.glob(f".{glob.escape(_short_name(path))}.*.tmp"):
        number = stale.suffixes[-2][1:]
        with suppress(OSError):
            if number.isdecimal() and not _is_alive(int(number)):
                stale.unlink()


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # where os.kill ends the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # such as another user's process
        return True
    return True


def check_room(folder: Path, needed: int) -> None:
    """Raise UserError if fewer than `needed` bytes are free on the disk of a folder."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: not enough room: {format_bytes(needed)} needed, {format_bytes(free)} free; "
            "make room or choose another folder"
        )


def format_bytes(n: int) -> str:
    """Return a number of bytes as text, e.g. 3.53 GB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n} bytes"


def to_json(value: Any, indent: int | None = None) -> str:  # noqa: ANN401
    """Return JSON text; NaN and infinities, which JSON does not have, become null."""
    return json.dumps(finite_or_none(value), indent=indent, allow_nan=False)


def finite_or_none(value: Any) -> Any:  # noqa: ANN401
    """Return `value` with every NaN and infinity in it, at any depth, replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite_or_none(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(entry) for entry in value]
    return value
