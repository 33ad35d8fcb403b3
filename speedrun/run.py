"""Run a record: measure the machine, train on two cores, test, and add a line to its log.

    python speedrun/run.py NAME [--seed N ...] [--data FOLDER]
    python speedrun/run.py --table

The exit status is 1 if a target is missed. README.md has the rules.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from leaks import find_leaks, read_pictures
from machine import CPU, REFERENCE_SCORE, description, reference_score, use_two_cores
from records import RECORDS, Line, config_hash, find_record, load_record, table, training_files
from targets import SCALES, SETS, TARGETS, all_met

from liif.commands.device import keep_freed_memory
from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.core.files import to_json
from liif.core.shipped import find_config
from liif.data.pairs import PairSet
from liif.data.paths import data_path
from liif.evaluation.config import TestConfig
from liif.evaluation.evaluate import evaluate, mean
from liif.evaluation.protocols import get_protocol
from liif.hub.pretrained import load
from liif.images.rgb8 import list_images
from liif.training.config import TrainConfig
from liif.training.record import read_record

OTHER_TESTS = ("benchmark/Set14/HR", "benchmark/B100/HR", "benchmark/Urban100/HR", "builtin:test")
"""Test pictures beside those of SETS that no record may be trained on, where they are there."""
Tests = dict[str, dict[str, tuple[TestConfig, PairSet]]]
"""What a model is tested on, by set and scale, e.g. ["set5"]["x2"]."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", help="name or number of a record, e.g. 00")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="default: 0")
    parser.add_argument("--data", type=Path, help="data root; default: $LIIF_DATA, else datasets")
    parser.add_argument("--table", action="store_true", help="print the table of all records")
    parser.add_argument("--records", type=Path, default=RECORDS, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.table == (options.name is not None):
        parser.error("give the name of a record, or --table")
    try:
        if options.table:
            print(table(options.records))
            return 0
        folder = find_record(options.name, options.records)
        root = None if options.data is None else str(options.data.expanduser().absolute())
        return run(folder, options.seed, root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run(folder: Path, seeds: Sequence[int], root: str | None) -> int:
    """Train and test a record once for each seed; return 1 if any misses a target."""
    overrides = [] if root is None else [f"data_root={json.dumps(root)}"]
    config = load_record(folder, overrides)
    tests = open_tests(config.data_root)
    check_data(config, tests)
    print(f"{folder.name}: {use_two_cores()}")
    keep_freed_memory(CPU)
    passed = True
    for seed in seeds:
        score = reference_score()
        print(
            f"reference score {score['score']:.1f} GFLOP/s (matrix products {score['matrix']:.1f}, "
            f"convolutions {score['convolution']:.1f})"
        )
        line: Line = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "record": folder.name,
            "seed": seed,
            "config_sha256": config_hash(folder),
            **description(),
            "reference": score,
        }
        run_folder, seconds = train(folder, seed, overrides)
        scores = score_model(run_folder / "last.safetensors", tests)
        start = read_record(run_folder)[-1]
        line |= {
            "seconds": round(seconds, 1),
            "reference_seconds": round(seconds * score["score"] / REFERENCE_SCORE, 1),
            "steps": config.steps,
            "scores": scores,
            "passed": all_met(scores),
            "threads": start["threads"],
            "versions": start["versions"],
            "commit": _commit(start["git"]),
            "data": {name: _digests(start["data"][key]) for key, name in config.data_folders()},
        }
        with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(to_json(line) + "\n")
        report(line)
        passed = passed and line["passed"]
    return 0 if passed else 1


def open_tests(root: str | None) -> Tests:
    """Open all pictures that a model is tested on. Raises UserError if some are missing."""
    tests: Tests = {}
    data = [] if root is None else [f"data_root={json.dumps(root)}"]
    for name, file in SETS.items():
        for scale in SCALES:
            values = [f"scale={scale}", *data]
            config = load_config(TestConfig, find_config(Path(file)), values)
            tests.setdefault(name, {})[f"x{scale}"] = config, config.open_pairs()
    return tests


def check_data(config: TrainConfig, tests: Tests) -> None:
    """Raise UserError if a training picture is a test picture, or nearly the same."""
    pictures = [file for scales in tests.values() for file in scales[f"x{SCALES[0]}"][1].hr]
    for folder in (data_path(config.data_root, name) for name in OTHER_TESTS):
        pictures += list_images(folder) if folder.exists() else []
    found = find_leaks(read_pictures(training_files(config)), read_pictures(pictures))
    if found:
        pairs = "; ".join(f"{each.training} is {each.test}" for each in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise UserError(f"test pictures in training: {pairs}{more}; leave them out by `exclude`")


def train(folder: Path, seed: int, overrides: Sequence[str]) -> tuple[Path, float]:
    """Train in a process of its own, with an empty image cache; return the run folder and the
    seconds from the command to the end, when its weights are written. Raises UserError if it
    fails."""
    now = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    name = f"speedrun-{folder.name}-seed{seed}-{now}"
    command = [sys.executable, "-m", "liif", "train", "--config", str(folder / "config.yaml")]
    command += ["--name", name, "--device", "cpu", "--resume", "never"]
    for each in (f"seed={seed}", *overrides):
        command += ["--set", each]
    with tempfile.TemporaryDirectory(dir=".") as cache:
        begun = time.perf_counter()
        status = start(command, {**os.environ, "LIIF_CACHE": os.path.abspath(cache)})
        seconds = time.perf_counter() - begun
    if status:
        raise UserError(
            f"{folder.name}: the training ended with status {status}; nothing is logged"
        )
    return Path("runs") / name, seconds


def start(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command; return its exit status."""
    return subprocess.run(command, env=environment, check=False).returncode


def score_model(weights: Path, tests: Tests) -> dict[str, dict[str, float]]:
    """Return the mean PSNR of a model by set and scale, in dB."""
    model = load(weights)
    return {
        name: {
            scale: round(mean([score.psnr for score in evaluate(model, pairs, protocol)]), 4)
            for scale, (config, pairs) in scales.items()
            for protocol in [get_protocol(config.protocol, config.scale)]
        }
        for name, scales in tests.items()
    }


def report(line: Line) -> None:
    """Print the time of a training, and each target with pass or fail."""
    print(
        f"seed {line['seed']}: {line['seconds']:.1f} s, "
        f"{line['reference_seconds']:.1f} s at the reference machine, {line['steps']} steps"
    )
    for target in TARGETS:
        verdict = "pass" if target.is_met(line["scores"]) else "FAIL"
        print(
            f"  {verdict}  {target.title}: {target.score(line['scores']):.3f} dB, "
            f"target {target.psnr:g}"
        )


def _commit(git: dict[str, Any] | None) -> str | None:
    """Return the commit of a run, with -dirty if files differed from it; None if it is unknown."""
    if git is None:
        return None
    return f"{git['commit'][:12]}{'-dirty' if git.get('diff') else ''}"


def _digests(data: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies a folder of a run, but not where it lies."""
    return {key: data[key] for key in ("files", "digest", "sample")}


if __name__ == "__main__":
    sys.exit(main())
