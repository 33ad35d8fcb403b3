"""Records on disk: their configurations, their logs, and the table of all."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from targets import SEEDS, TARGETS, all_met

from liif.core.config_file import load_config, read_values
from liif.core.errors import UserError
from liif.data.paths import data_path, weighted_folders
from liif.data.random_scale import RandomScale
from liif.images.rgb8 import list_images
from liif.training.config import TrainConfig

RECORDS = Path(__file__).parent / "records"

Line = dict[str, Any]
"""One line of a log: one training and its test."""


def find_record(name: str, records: Path = RECORDS) -> Path:
    """Return the folder of a record, by its name or its number. Raises UserError."""
    known = names(records)
    found = [each for each in known if name == each or each.startswith(f"{name}-")]
    if len(found) != 1:
        raise UserError(f"{name}: no such record; choose from {', '.join(known) or 'none'}")
    return records / found[0]


def names(records: Path = RECORDS) -> list[str]:
    """Return the names of all records, in order."""
    return sorted(file.parent.name for file in records.glob("*/config.yaml"))


def load_record(folder: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Return the configuration of a record. Raises UserError if it is not allowed in one."""
    file = folder / "config.yaml"
    config = load_config(TrainConfig, file, overrides)
    for key in ("init", "valid", "test"):
        if getattr(config, key) is not None:
            why = "starts from random weights" if key == "init" else "is tested after its time"
            raise UserError(f"{file}: {key}: must be null: a record {why}")
    return config


def config_hash(folder: Path) -> str:
    """Return the SHA-256 of what a record's configuration states, with its bases."""
    values, _ = read_values(folder / "config.yaml")
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def training_files(config: TrainConfig) -> list[Path]:
    """Return the picture files that a configuration trains on. Raises UserError without any."""
    data, root = config.train_data, config.data_root
    if not isinstance(data, RandomScale):
        folders = [folder for key, folder in config.data_paths() if key.startswith("train_data.")]
        return [file for folder in folders for file in list_images(folder)]
    files: list[Path] = []
    for each in weighted_folders(data.images):
        folder = data_path(root, each.path)
        left_out = {folder / name for name in each.exclude}
        files += [file for file in list_images(folder) if file not in left_out]
    return files


def read_log(folder: Path) -> list[Line]:
    """Return the lines of a record's log, oldest first."""
    file = folder / "log.jsonl"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def idea(folder: Path) -> str:
    """Return the one idea of a record: the first line of its README.md, without its name."""
    first = (folder / "README.md").read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip().removeprefix(f"{folder.name}:").strip()


def best_lines(lines: Sequence[Line]) -> list[Line] | None:
    """Return the newest line of each seed, where all of them reach the targets and no later one
    does not; None if the record is not set."""
    newest = {line["seed"]: line for line in lines if line["seed"] in SEEDS}
    is_set = len(newest) == len(SEEDS) and all(all_met(line["scores"]) for line in newest.values())
    return [newest[seed] for seed in SEEDS] if is_set else None


def table(records: Path = RECORDS) -> str:
    """Return the table of records in Markdown: means over the seeds, of scores the lowest."""
    heads = ["record", "idea", "seconds", "at the reference machine", "steps"]
    heads += [f"{target.title} ≥ {target.psnr:g}" for target in TARGETS] + ["processor"]
    rows = [heads, ["---", "---", *["--:"] * (len(heads) - 3), "---"]]
    for name in names(records):
        folder = records / name
        link = f"[{name}](records/{name})"
        lines = best_lines(read_log(folder))
        if lines is None:
            count = len(read_log(folder))
            rest = f"not set yet: {count} trainings" if count else "not run yet"
            rows.append([link, idea(folder), rest, *[""] * (len(heads) - 3)])
            continue
        row = [link, idea(folder)]
        row += [f"{_mean(lines, key):,.0f}" for key in ("seconds", "reference_seconds")]
        row.append(f"{lines[0]['steps']:,}")
        row += [f"{min(target.score(line['scores']) for line in lines):.2f}" for target in TARGETS]
        rows.append([*row, " / ".join(dict.fromkeys(line["processor"] for line in lines))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _mean(lines: Sequence[Line], key: str) -> float:
    return sum(line[key] for line in lines) / len(lines)
