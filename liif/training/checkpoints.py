"""The checkpoint files of a run: which are written when, and which are kept.

`last.pt` is the newest, `previous.pt` the one before it, `best.pt` that of the best validation, and
`step-N.pt` every n-th. Training continues exactly from any of them.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from liif.models.build import ModelConfig
from liif.training.schedule import is_due
from liif.training.state import TrainingState

log = logging.getLogger("liif")


@dataclass
class Checkpoints:
    """Writes the checkpoints of a run."""

    folder: Path
    model: ModelConfig
    run: dict[str, Any]
    """Configuration of the run, as JSON values."""
    steps: int
    """Steps of the whole run."""
    save_every: int
    keep_every: int | None
    keep: int | None
    before_save: Callable[[], None]
    """Called before each save: what a checkpoint builds on must be on the disk before it."""
    is_writer: bool = True
    """Whether this process writes; the others of a run only keep count."""
    saved: tuple[int, int] | None = field(init=False, default=None)
    """Step and validation of last.pt."""

    def save(self, state: TrainingState, name: str) -> None:
        """Write one file of the run. Raises UserError if that fails."""
        previous = None
        if name == "last.pt" and self.saved is not None and self.saved[0] < state.step:
            previous = self.folder / "previous.pt"
        if self.is_writer:
            self.before_save()
            state.save(self.folder / name, self.model, self.run, previous)

    def save_last(self, state: TrainingState) -> None:
        """Write last.pt, unless it holds this state already."""
        now = state.step, state.validated
        if self.saved != now:
            self.save(state, "last.pt")
            self.saved = now

    def save_due(self, state: TrainingState) -> None:
        """Write the files that are due after a step."""
        saved_step = 0 if self.saved is None else self.saved[0]
        validated_since = self.saved is not None and self.saved[1] < state.validated
        if validated_since or is_due(state.step, self.save_every, self.steps, saved_step):
            self.save_last(state)
        if self.keep_every and state.step and state.step % self.keep_every == 0:
            self.save(state, f"step-{state.step:08d}.pt")
            prune(self.folder, self.keep)


def every_nth(folder: Path) -> list[Path]:
    """Return the step-N.pt of a run, newest first."""
    found = {path: re.fullmatch(r"step-(\d+)\.pt", path.name) for path in folder.glob("step-*.pt")}
    numbers = {path: int(match[1]) for path, match in found.items() if match}
    return sorted(numbers, key=lambda path: numbers[path], reverse=True)


def prune(folder: Path, keep: int | None) -> None:
    """Remove all step-N.pt but the newest `keep`; None keeps all. Other checkpoints stay."""
    if keep is None:
        return
    for path in every_nth(folder)[keep:]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:  # no reason to stop a training
            log.warning("%s: cannot be removed: %s", path, error.strerror or error)
