"""From which of its checkpoints a run goes on, and which of them are kept.

`last.pt` is the newest, `previous.pt` the one it took the place of, `best.pt` that of the best
validation, and `step-N.pt` every n-th. Continuing is exact: an older one costs time, nothing else.
"""

import logging
import re
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from liif.core.errors import UserError
from liif.models.checkpoint import read_checkpoint
from liif.training.state import COUNTERS

if sys.platform != "win32":
    import fcntl

COMPLETE = {"config", "optimizer", "generator", *COUNTERS}
"""What the state of a run consists of, if it keeps no average."""

log = logging.getLogger("liif")


def starting_point(folder: Path, resume: Literal["auto", "never"] | Path) -> Path | None:
    """The checkpoint to go on from; None where a run folder has none yet.

    "auto" takes last.pt, or, with a warning, the newest good one where that is missing or damaged.
    A path is taken as it is.

    Raises:
        UserError: there are checkpoints but none is good; there are some, and `resume` is "never".
    """
    if isinstance(resume, Path):
        return resume
    last = folder / "last.pt"
    others = [folder / "previous.pt", folder / "best.pt", *_every_nth(folder)]
    there = [path for path in (last, *others) if path.exists()]
    if not there:
        return None
    if resume == "never":
        raise UserError(
            f"{folder}: holds a run already, which is not overwritten; choose another --name, "
            "or leave --resume away to go on with it"
        )
    try:
        finished_steps(last)
        return last
    except UserError as error:
        newest = _newest_good(others)
        if newest is None:
            raise UserError(
                f"{error}; and no other checkpoint of the run is good. Move {folder} away, or "
                "choose another --name, to start anew"
            ) from None
        log.warning("%s; going on from %s", error, newest)
        return newest


def finished_steps(path: Path) -> int:
    """Steps behind a checkpoint that a run can go on from. Raises UserError if it cannot."""
    training = read_checkpoint(path).training
    if training is None:
        raise UserError(f"{path}: holds weights only, not the state of a run")
    if missing := COMPLETE - training.keys():
        raise UserError(f"{path}: the state of its run lacks {', '.join(sorted(missing))}")
    step = training["step"]
    if type(step) is not int or step < 0:
        raise UserError(f"{path}: the state of its run is damaged (step {step!r:.50})")
    return step


def prune(folder: Path, keep: int | None) -> None:
    """Of the step-N.pt leave the newest `keep`, or all; the other checkpoints always stay."""
    if keep is None:
        return
    for path in _every_nth(folder)[keep:]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:  # no reason to stop a training
            log.warning("%s: cannot be removed: %s", path, error.strerror or error)


@contextmanager
def occupied(folder: Path) -> Generator[None, None, None]:
    """Hold a run folder for this process alone; however it ends, the system sets it free.

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
    """Whether another process trains there. Not to be asked by one that holds the folder itself:
    it would lose it."""
    try:
        with (folder / ".lock").open("rb+") as file:
            return not _lock(file.fileno())
    except OSError:
        return False


def _lock(descriptor: int) -> bool:
    """Whether a file is locked for this process now. This kind is not passed on to loader workers,
    which outlive a killed process by seconds."""
    if sys.platform != "win32":
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # some network disks know no locks
            pass
    return True


def _every_nth(folder: Path) -> list[Path]:
    """The step-N.pt of a run, newest first."""
    found = {path: re.fullmatch(r"step-(\d+)\.pt", path.name) for path in folder.glob("step-*.pt")}
    numbers = {path: int(match[1]) for path, match in found.items() if match}
    return sorted(numbers, key=lambda path: numbers[path], reverse=True)


def _newest_good(paths: list[Path]) -> Path | None:
    """That with the most steps behind it. Of the step-N.pt, which come last, the first good one is
    the newest: the others need not be read."""
    good: dict[Path, int] = {}
    for path, steps in _good(paths):
        good[path] = steps
        if path.name.startswith("step-"):
            break
    return max(good, key=lambda path: good[path], default=None)


def _good(paths: list[Path]) -> Iterator[tuple[Path, int]]:
    for path in paths:
        try:
            yield path, finished_steps(path)
        except UserError:
            continue
