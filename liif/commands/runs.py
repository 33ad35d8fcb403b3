"""`liif runs`: what there is, how far it is, how to go on."""

import argparse
import json
import math
import shlex
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.training.config import TrainConfig
from liif.training.record import read_record
from liif.training.resume import is_occupied

SUMMARY = "List the runs, their state and how to go on."
EXAMPLE = "runs/edsr-liif"

RECENT = 120.0
"""Seconds since the last line of the log: where no lock tells, a run is taken to be alive."""
COLUMNS = ("run", "state", "step", "best PSNR", "loss", "images/s", "time")


@dataclass
class Row:
    """One run."""

    folder: Path
    state: str
    step: int = 0
    steps: int = 0
    best: float = -math.inf
    """Mean PSNR of the best validation, in dB."""
    loss: float = math.nan
    """Of the last line of the log, as is the speed."""
    speed: float = math.nan
    seconds: float = 0.0
    """Spent on the steps that are in the log."""
    note: str = ""
    """What is wrong, or the command that goes on."""

    def cells(self) -> tuple[str, ...]:
        spent = str(timedelta(seconds=round(self.seconds))) if self.seconds else "-"
        return (
            self.folder.name,
            self.state,
            f"{self.step}/{self.steps}" if self.steps else "-",
            _number(self.best, ".2f"),
            _number(self.loss, ".4f"),
            _number(self.speed, ".1f"),
            spent,
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "folders of runs, or folders that hold them (default: runs)"
    parser.add_argument("folders", nargs="*", type=Path, metavar="DIR", help=text)


def run(options: argparse.Namespace) -> int:
    folders = [each for given in options.folders or [Path("runs")] for each in _runs_in(given)]
    rows = [_row(folder) for folder in folders]
    table = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    print(_line(COLUMNS, widths))
    for row in rows:
        print(_line(row.cells(), widths))
        if row.note:
            print(f"    {row.note}")
    return 0


def _runs_in(folder: Path) -> list[Path]:
    """The folder itself if it is one of a run, else those in it."""
    if _is_run(folder):
        return [folder]
    try:
        found = sorted(each for each in folder.iterdir() if _is_run(each))
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed: {error.strerror or error}") from None
    if not found:
        raise UserError(f"{folder}: no runs here; `liif train` makes them in runs/NAME")
    return found


def _is_run(folder: Path) -> bool:
    names = ("config.yaml", "metrics.jsonl", "last.pt")
    try:
        return any((folder / name).exists() for name in names)
    except OSError:
        return False


def _row(folder: Path) -> Row:
    try:
        config = load_config(TrainConfig, folder / "config.yaml")
    except UserError as error:
        return Row(folder, "damaged", note=str(error).splitlines()[0])
    row = Row(folder, "stopped", steps=config.steps)
    logged = 0
    for line in _records(folder / "metrics.jsonl"):
        try:
            kind, row.step = line["kind"], int(line["step"])
            if kind == "valid":
                row.best = max(row.best, float(line["mean_psnr"]))
            elif kind == "train":
                row.loss, row.speed = float(line["loss"]), float(line["images_per_s"])
                row.seconds += (row.step - logged) * config.batch_size / row.speed
                logged = row.step
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue  # a line that continuing forgets
    damaged = _is_damaged(folder / "last.pt")
    if is_occupied(folder):
        row.state = "running"
    elif row.step >= row.steps and (folder / "last.safetensors").exists():
        row.state = "finished"
    elif not (folder / ".lock").exists() and _age(folder / "metrics.jsonl") < RECENT:
        row.state = "running?"
    elif damaged and not any(map(zipfile.is_zipfile, folder.glob("*.pt"))):
        row.state, row.note = "damaged", f"{folder}/last.pt: damaged, and no other is good"
    else:
        row.note = _command(folder) + (
            "  (last.pt is damaged: from an older one)" if damaged else ""
        )
    return row


def _records(file: Path) -> Iterator[dict[str, Any]]:
    try:
        content = file.read_bytes()
    except OSError:
        return
    for line in content.splitlines():
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):  # cut off while it was written
            continue


def _is_damaged(last: Path) -> bool:
    """As far as can be seen without reading all of it."""
    try:
        return last.exists() and not zipfile.is_zipfile(last)
    except OSError:
        return True


def _command(folder: Path) -> str:
    """The resolved configuration goes on as the file that it was made from would."""
    place = folder.resolve()
    if place.parent.name != "runs":
        return "to go on, move it into a folder runs"
    root = place.parent.parent
    there = "" if root == Path.cwd() else f"cd {shlex.quote(str(root))} && "
    entries = read_record(folder)
    processes = entries[-1].get("processes", 1) if entries else 1
    start = ["liif"]
    if isinstance(processes, int) and processes > 1:
        start = ["torchrun", "--nproc-per-node", str(processes), "-m", "liif"]
    config = f"runs/{place.name}/config.yaml"
    return there + shlex.join([*start, "train", "--config", config, "--name", place.name])


def _age(file: Path) -> float:
    """Seconds since a file was written."""
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return math.inf


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    name, state, *numbers = cells
    left = [name.ljust(widths[0]), state.ljust(widths[1])]
    right = [text.rjust(width) for text, width in zip(numbers, widths[2:], strict=True)]
    return "  ".join([*left, *right])
