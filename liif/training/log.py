"""What a run leaves to read: metrics.jsonl, TensorBoard, a progress bar."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from liif.core.progress import progress_bar


class RunLog:
    """The records of one run. Opened at a step, it forgets what was recorded after that step, so
    that a run that goes on from a checkpoint has neither gaps nor doubled lines."""

    def __init__(self, folder: Path, *, step: int, steps: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        _forget_after(self.path, step)
        self.file = self.path.open("a", encoding="utf-8")
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self.bar = progress_bar(total=steps, unit="step", initial=step)

    def record(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl, and its numbers in TensorBoard under kind/…."""
        self.file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self.file.flush()
        for name, value in values.items():
            nested = value if isinstance(value, Mapping) else {"": value}
            for key, number in nested.items():
                tag = f"{kind}/{name}/{key}".rstrip("/")
                self.board.add_scalar(tag, number, step)

    def picture(self, tag: str, step: int, image: np.ndarray) -> None:
        """A picture, uint8 (H, W, 3), in TensorBoard."""
        self.board.add_image(tag, image, step, dataformats="HWC")

    def advance(self, step: int, notes: Mapping[str, str]) -> None:
        """Move the progress bar to a step."""
        self.bar.set_postfix(notes, refresh=False)
        self.bar.update(step - self.bar.n)

    def flush(self) -> None:
        """To the disk with all of it: what a checkpoint builds on must not be lost after it."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.board.flush()

    def close(self) -> None:
        self.bar.close()
        self.file.close()
        self.board.close()


class NullLog(RunLog):
    """Of the processes that do not lead: nothing is written."""

    def __init__(self, folder: Path, *, step: int, steps: int) -> None:
        pass

    def record(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        pass

    def picture(self, tag: str, step: int, image: np.ndarray) -> None:
        pass

    def advance(self, step: int, notes: Mapping[str, str]) -> None:
        pass

    def close(self) -> None:
        pass


def is_due(step: int, every: int, last: int, done: int = 0) -> bool:
    """Whether something that happens every so many steps, and after the last, happens now."""
    return step > done and (step % every == 0 or step == last)


def _forget_after(path: Path, step: int) -> None:
    """Drop the lines after a step, and a last line that was cut off while it was written."""
    if not path.exists():
        return
    kept: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    os.replace(temporary, path)
