"""The records of a run: metrics.jsonl, TensorBoard, Weights & Biases and a progress bar."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from liif.core.files import to_json
from liif.core.progress import progress_bar
from liif.training.wandb_board import WandbBoard


class NullLog:
    """A log that records nothing, for processes that do not write."""

    def record(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl, and its numbers to TensorBoard under kind/…."""

    def picture(self, tag: str, step: int, image: np.ndarray) -> None:
        """Add an image, uint8 (H, W, 3), to TensorBoard."""

    def advance(self, step: int, notes: Mapping[str, str]) -> None:
        """Move the progress bar to a step."""

    def flush(self) -> None:
        """Write everything to the disk: a checkpoint must not outlive the lines before it."""

    def close(self) -> None:
        """Close all files."""


class RunLog(NullLog):
    """The log of one run.

    Opened at a step, it drops what was recorded after that step, and a validation at that step that
    the checkpoint does not know of: a continued run has neither gaps nor duplicates.
    """

    def __init__(
        self,
        folder: Path,
        *,
        step: int,
        validated: int,
        steps: int,
        boards: Sequence[WandbBoard] = (),
    ) -> None:
        """
        Args:
            step: finished steps of the checkpoint that the run continues from.
            validated: step of its last finished validation.
            steps: steps of the whole run.
            boards: further places for what goes to TensorBoard, closed with the log.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        kept = [
            line
            for line in _lines(self.path)
            if line["step"] < step
            or (line["step"] == step and (line["kind"] != "valid" or validated >= step))
        ]
        if self.path.exists():
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text("".join(to_json(line) + "\n" for line in kept), encoding="utf-8")
            os.replace(temporary, self.path)
        self.file = self.path.open("a", encoding="utf-8")
        # TensorBoard drops whole steps only: other lines of this step are added again.
        is_pending = validated < step
        purge = step if is_pending else step + 1
        tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=purge)
        self.boards: list[SummaryWriter | WandbBoard] = [tensorboard, *boards]
        for line in kept:
            if is_pending and line["step"] == step:
                self._add_scalars(line)
        self.bar = progress_bar(total=steps, unit="step", initial=step)

    def record(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        line = {"kind": kind, "step": step, **values}
        self.file.write(to_json(line) + "\n")
        self.file.flush()
        self._add_scalars(line)

    def picture(self, tag: str, step: int, image: np.ndarray) -> None:
        for board in self.boards:
            board.add_image(tag, image, step, dataformats="HWC")

    def advance(self, step: int, notes: Mapping[str, str]) -> None:
        self.bar.set_postfix(notes, refresh=False)
        self.bar.update(step - self.bar.n)

    def flush(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        for board in self.boards:
            board.flush()

    def close(self) -> None:
        self.bar.close()
        self.file.close()
        for board in self.boards:
            board.close()

    def _add_scalars(self, line: Mapping[str, Any]) -> None:
        for name, value in line.items():
            if name in ("kind", "step"):
                continue
            nested = value if isinstance(value, Mapping) else {"": value}
            for key, number in nested.items():
                if isinstance(number, int | float) and math.isfinite(number):
                    tag = f"{line['kind']}/{name}/{key}".rstrip("/")
                    for board in self.boards:
                        board.add_scalar(tag, number, line["step"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of metrics.jsonl that are whole: the last one may have been cut off."""
    if not path.exists():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
            if type(line["step"]) is int and isinstance(line["kind"], str):
                yield line
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
