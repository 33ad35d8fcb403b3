"""`liif runs`: list training runs, their progress and the commands that resume them."""

import argparse
import json
import math
import shlex
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.training.config import TrainConfig
from liif.training.lock import is_occupied
from liif.training.record import read_record

EXAMPLE = "runs/edsr-liif"

RECENT = 120.0
"""A run without a lock file counts as alive if its log changed within these seconds."""
COLUMNS = ("run", "state", "step", "best PSNR", "loss", "images/s", "time")


@dataclass
class RunStatus:
    """The state of one run, a row of the table."""

    folder: Path
    state: str
    note: str = ""
    """What is wrong, or the command that resumes the run."""
    step: int = 0
    steps: int = 0
    best: float = -math.inf
    """Mean PSNR of the best validation, in dB."""
    loss: float = math.nan
    """Of the last logged step, as is `speed`."""
    speed: float = math.nan
    """Images per second."""
    seconds: float = 0.0
    """Time spent on the logged steps."""

    def cells(self) -> list[str]:
        steps = f"{self.step}/{self.steps}" if self.steps else "-"
        spent = str(timedelta(seconds=round(self.seconds))) if self.seconds else "-"
        values = ((self.best, ".2f"), (self.loss, ".4f"), (self.speed, ".1f"))
        numbers = [format(value, form) if math.isfinite(value) else "-" for value, form in values]
        return [self.folder.name, self.state, steps, *numbers, spent]


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "run folders, or folders that contain them (default: runs)"
    parser.add_argument("folders", nargs="*", type=Path, metavar="DIR", help=text)


def run(options: argparse.Namespace) -> int:
    folders = [each for given in options.folders or [Path("runs")] for each in _runs_in(given)]
    statuses = [_status(folder) for folder in folders]
    table = [COLUMNS, *(status.cells() for status in statuses)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells, note in zip(table, ["", *(status.note for status in statuses)], strict=True):
        columns = zip(cells, "<<>>>>>", widths, strict=True)
        print("  ".join(f"{text:{side}{width}}" for text, side, width in columns))
        if note:
            print(f"    {note}")
    return 0


def _runs_in(folder: Path) -> list[Path]:
    """Return the folder itself if it is a run, else the runs in it."""
    if _is_run(folder):
        return [folder]
    try:
        found = sorted(each for each in folder.iterdir() if _is_run(each))
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed: {error.strerror or error}") from None
    if not found:
        raise UserError(f"{folder}: no runs here; `liif train` creates them in runs/NAME")
    return found


def _is_run(folder: Path) -> bool:
    with suppress(OSError):
        return any((folder / n).exists() for n in ("config.yaml", "metrics.jsonl", "last.pt"))
    return False


def _status(folder: Path) -> RunStatus:
    try:
        config = load_config(TrainConfig, folder / "config.yaml")
    except UserError as error:
        return RunStatus(folder, "damaged", str(error).splitlines()[0])
    status = RunStatus(folder, "stopped", steps=config.steps)
    logged = 0
    for line in _records(folder / "metrics.jsonl"):
        # A value that was not finite is null, and a line may be cut off.
        with suppress(KeyError, TypeError, ValueError, ZeroDivisionError):
            kind, status.step = line["kind"], int(line["step"])
            if kind == "valid":
                status.best = max(status.best, float(line["mean_psnr"]))
            elif kind == "train":
                status.loss, status.speed = float(line["loss"]), float(line["images_per_s"])
                status.seconds += (status.step - logged) * config.batch_size / status.speed
                logged = status.step
    damaged = _is_damaged(folder / "last.pt")
    if is_occupied(folder):
        status.state = "running"
    elif status.step >= status.steps and (folder / "last.safetensors").exists():
        status.state = "finished"
    elif not (folder / ".lock").exists() and _age(folder / "metrics.jsonl") < RECENT:
        status.state = "running?"
    elif damaged and not any(map(zipfile.is_zipfile, folder.glob("*.pt"))):
        status.state = "damaged"
        status.note = f"{folder}/last.pt: damaged, and no other checkpoint is intact"
    else:
        status.note = _command(folder)
        if damaged:
            status.note += "  (last.pt is damaged: resumes from an older checkpoint)"
    return status


def _records(file: Path) -> Iterator[dict[str, Any]]:
    with suppress(OSError):
        for line in file.read_bytes().splitlines():
            with suppress(ValueError, RecursionError):  # cut off while being written
                yield json.loads(line)


def _is_damaged(last: Path) -> bool:
    """Whether last.pt is not a zip archive, judging by its directory at the end."""
    try:
        return last.exists() and not zipfile.is_zipfile(last)
    except OSError:
        return True


def _command(folder: Path) -> str:
    """Return the command that resumes a run, from the configuration in its folder."""
    folder = folder.resolve()
    if folder.parent.name != "runs":
        return "to resume, move this run under a directory named runs/"
    root = folder.parent.parent
    change_folder = "" if root == Path.cwd() else f"cd {shlex.quote(str(root))} && "
    entries = read_record(folder)
    processes = entries[-1].get("processes", 1) if entries else 1
    start = ["liif"]
    if isinstance(processes, int) and processes > 1:
        start = ["torchrun", "--nproc-per-node", str(processes), "-m", "liif"]
    config = f"runs/{folder.name}/config.yaml"
    return change_folder + shlex.join([*start, "train", "--config", config, "--name", folder.name])


def _age(file: Path) -> float:
    """Return the seconds since a file was written."""
    with suppress(OSError):
        return time.time() - file.stat().st_mtime
    return math.inf
