"""Locks between processes, by `filelock`. The system frees them however a process ends; processes
that it forks, such as loader workers, do not hold them (from filelock 3.32 on)."""

from collections.abc import Generator
from contextlib import contextmanager
from errno import EACCES, ENOENT, ENOTDIR, EROFS
from pathlib import Path

from filelock import FileLock, Timeout

NOT_WRITABLE = (EACCES, ENOENT, ENOTDIR, EROFS)


@contextmanager
def file_lock(path: Path, *, wait: bool = False) -> Generator[bool | None, None, None]:
    """Hold the lock that a file stands for, which is created if it is missing and stays.

    Yields True; False if another process holds it and `wait` is false; None where the system or the
    disk has no locks. Raises OSError if the file cannot be opened.
    """
    # A file instead of a lock of the system would remain if the process is killed.
    lock = FileLock(path, timeout=-1 if wait else 0, fallback_to_soft=False)
    is_held: bool | None = True
    try:
        lock.acquire()
    except Timeout:
        is_held = False
    except OSError as error:
        if error.errno in NOT_WRITABLE:
            raise
        is_held = None  # some network disks have no locks
    try:
        yield is_held
    finally:
        lock.release()
