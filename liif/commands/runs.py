"""`liif runs`: list training runs, their progress and the commands that resume them."""

import argparse
import json
import math
import shlex
import time
import zipfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.core.files import to_json
from liif.core.section import Section
from liif.training.config import Count, TrainConfig
from liif.training.lock import is_occupied
from liif.training.record import read_record

RECENT = 120.0
"""A run without a lock file counts as alive if its log changed within these seconds."""
COLUMNS = ("run", "state", "step", "best PSNR", "loss", "images/s", "time")

Record = dict[str, Any]
"""What is known of a run, as in --json; of a damaged one there are no numbers."""
UNKNOWN = ": unknown key;"
"""What `load_config` says after the name of such a key."""


class _RunLength(Section, extra="ignore"):
    """The part of a run's configuration that its numbers need, in a file of any version."""

    steps: Count = TrainConfig.model_fields["steps"].default
    batch_size: Count = TrainConfig.model_fields["batch_size"].default


def run(options: argparse.Namespace) -> int:
    folders = [each for given in options.folders or [Path("runs")] for each in _runs_in(given)]
    records = [_record(folder) for folder in folders]
    if options.json:
        print(to_json(records, indent=1))
        return 0
    rows = [(list(COLUMNS), ""), *map(_row, records)]
    widths = [max(map(len, column)) for column in zip(*(cells for cells, _ in rows), strict=True)]
    for cells, note in rows:
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


def _row(record: Record) -> tuple[list[str], str]:
    """Return the row of a run and its note."""
    if record["step"] is None:
        return [record["run"], record["state"], *"-----"], record["note"]
    forms = {"best_psnr": ".2f", "loss": ".4f", "images_per_s": ".1f"}
    values = [(record[key], form) for key, form in forms.items()]
    numbers = [format(value, form) if math.isfinite(value) else "-" for value, form in values]
    spent = str(timedelta(seconds=round(record["seconds"]))) if record["seconds"] else "-"
    steps = f"{record['step']}/{record['steps']}"
    return [record["run"], record["state"], steps, *numbers, spent], record["note"]


def _record(folder: Path) -> Record:
    """Return what is known of a run, and a note: what is wrong, or the command that resumes it."""
    start: Record = {"run": folder.name, "folder": str(folder), "step": None}
    file, unknown = folder / "config.yaml", ""
    try:
        config = load_config(TrainConfig, file)
    except UserError as error:
        lines = str(error).splitlines()
        if not all(UNKNOWN in line for line in lines):
            return {**start, "state": "damaged", "note": lines[0]}
        config = load_config(_RunLength, file)
        keys = [line.partition(UNKNOWN)[0].rpartition(": ")[2] for line in lines]
        unknown = f"{file}: has keys that this version does not know: {', '.join(keys)}"
    step, logged, ended = 0, 0, -1
    best, loss, speed, seconds = -math.inf, math.nan, math.nan, 0.0
    with suppress(OSError):
        for text in (folder / "metrics.jsonl").read_bytes().splitlines():
            # A line may be cut off, and a value that was not finite is null.
            with suppress(KeyError, TypeError, ValueError, ZeroDivisionError, RecursionError):
                line = json.loads(text)
                kind, step = line["kind"], int(line["step"])
                if kind == "valid":
                    best = max(best, float(line["mean_psnr"]))
                elif kind == "early_stop":
                    ended = step
                elif kind == "train":
                    loss, speed = float(line["loss"]), float(line["images_per_s"])
                    seconds += (step - logged) * config.batch_size / speed
                    logged = step
    state, note = _state(folder, has_all_steps=step >= config.steps or step == ended)
    if unknown and state != "damaged":  # this version cannot resume the run
        note = unknown
    numbers = {"best_psnr": best, "loss": loss, "images_per_s": speed, "seconds": seconds}
    return {**start, "state": state, "step": step, "steps": config.steps, **numbers, "note": note}


def _state(folder: Path, *, has_all_steps: bool) -> tuple[str, str]:
    last = folder / "last.pt"
    try:
        is_damaged = last.exists() and not zipfile.is_zipfile(last)  # looks at the file's end
    except OSError:
        is_damaged = True
    if is_occupied(folder):
        return "running", ""
    if has_all_steps and (folder / "last.safetensors").exists():
        return "finished", ""
    with suppress(OSError):
        age = time.time() - (folder / "metrics.jsonl").stat().st_mtime
        if age < RECENT and not (folder / ".lock").exists():
            return "running?", ""
    if is_damaged and not any(map(zipfile.is_zipfile, folder.glob("*.pt"))):
        return "damaged", f"{last}: damaged, and no other checkpoint is intact"
    hint = "  (last.pt is damaged: resumes from an older checkpoint)" if is_damaged else ""
    return "stopped", _command(folder) + hint


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
