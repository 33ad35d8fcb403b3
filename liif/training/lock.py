"""A lock on a run folder, so that two processes never train in it."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from liif.core.errors import UserError

if sys.platform != "win32":
    import fcntl


@contextmanager
def occupied(folder: Path) -> Generator[None, None, None]:
    """Hold a run folder for this process; the system frees it however the process ends.

    Raises:
        UserError: another process trains there; the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("ab")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None
    with file:
        if not _lock(file.fileno()):
            raise UserError(
                f"{folder}: another process trains there; wait for it, or choose another --name"
            )
        yield


def is_occupied(folder: Path) -> bool:
    """Return whether another process trains in a folder. Do not call this while holding the lock:
    closing the descriptor drops a POSIX lock."""
    try:
        with (folder / ".lock").open("rb+") as file:
            return not _lock(file.fileno())
    except OSError:
        return False


def _lock(descriptor: int) -> bool:
    """Return whether the file is locked for this process now. POSIX locks are not inherited by
    loader workers, which outlive a killed process by seconds."""
    if sys.platform != "win32":
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # some network disks have no locks
            pass
    return True
