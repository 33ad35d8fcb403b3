"""A lock on a run folder, so that two processes never train in it."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from liif.core.errors import UserError
from liif.core.lock import file_lock


@contextmanager
def occupied(folder: Path) -> Generator[None, None, None]:
    """Hold a run folder for this process.

    Raises:
        UserError: another process trains there; the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            is_held = stack.enter_context(file_lock(folder / ".lock"))
        except OSError as error:
            raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None
        if is_held is False:
            raise UserError(
                f"{folder}: another process trains there; wait for it, or choose another --name"
            )
        yield


def is_occupied(folder: Path) -> bool:
    """Return whether a process trains in a folder."""
    file = folder / ".lock"
    try:
        if file.exists():  # a lock would create it
            with file_lock(file) as is_held:
                return is_held is False
    except OSError:
        pass
    return False
