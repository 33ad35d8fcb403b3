"""Does the decoder matter? Train every decoder by three recipes, test all, and write the page.

    python results/decoder_study.py --record speedrun/records/NN-name/config.yaml [OPTION ...]

Every training has the same encoder, samples, steps and batches. The recipe is what the optimizer
does: (a) LIIF's, (b) the decoder's own published one, (c) that of a record of the speedrun. Its
steps are scaled to those of the study. A decoder that is published with a loss of its own keeps it,
as the likelihood of LINF is part of the method.

What is finished is passed over, and a training that was cut short goes on: the same command
resumes. --stage chooses a part of the work, e.g. `--stage page` for the page of what is there.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.core.shipped import find_config
from liif.data.paths import data_path
from liif.training.config import TrainConfig

sys.path.insert(0, str(Path(__file__).parent))
from decoder_page import StudyRun, write_page

DECODERS = {
    "liif": "edsr-liif",
    "lte": "edsr-lte",
    "fourier": "edsr-fourier",
    "srno": "edsr-srno",
    "bilinear": "edsr-bilinear",
    "metasr": "edsr-metasr",
    "lm-liif": "edsr-lm-liif",
    "lm-lte": "edsr-lm-lte",
    "linf": "edsr-linf",
    "ciaosr": "edsr-ciaosr",
    "hiif": "edsr-hiif",
    "thera-air": "edsr-thera-air",
    "itsrn": "rdn-itsrn",
    "clit": "edsr-clit",
}
"""Decoders, and the shipped configurations that have their published recipes. `ope` is missing: it
needs 147 features, so it cannot have the same encoder."""
IMPORTANT = ("liif", "lte", "fourier", "srno")
"""Decoders with five seeds in recipe c."""
RECIPES = {"a": "LIIF's recipe", "b": "the decoder's own recipe", "c": "the record's recipe"}
KEYS = (
    *("optimizer", "betas", "weight_decay", "groups", "learning_rate", "schedule", "decay"),
    *("loss", "ema", "clip_gradient"),
)
STEP_KEYS = ("warm_up", "cool_down", "milestones")
"""Keys of a recipe: those that count steps are scaled to the steps of the study."""
ENCODER = {"name": "edsr-baseline", "blocks": 8, "width": 32}
SAMPLES = {"patch": 24, "scale": [1, 4], "queries": 288}
SETS = ("set5", "set14")
SCALES = (2, 3, 4, 6, 8, 12)


def runs(recipes: Sequence[str], decoders: Sequence[str], seeds: int) -> Iterator[StudyRun]:
    """Yield the runs seed by seed, so that a study that is cut short has something of all. The
    important decoders have two more seeds in recipe c."""
    for seed in range(seeds + 2):
        for recipe in recipes:
            for decoder in decoders:
                if seed < seeds or (recipe == "c" and decoder in IMPORTANT):
                    yield StudyRun(recipe, decoder, seed)


def training(run: StudyRun, record: Path | None, steps: int, batch: int) -> dict[str, Any]:
    """Return the values of a run's configuration."""
    own = load_config(TrainConfig, find_config(Path(DECODERS[run.decoder])))
    source = {"a": find_config(Path("edsr-liif")), "c": record}.get(run.recipe)
    recipe = own if source is None else load_config(TrainConfig, source)
    values = recipe.model_dump(mode="json")
    chosen = {key: values[key] for key in KEYS}
    for key in STEP_KEYS:
        chosen[key] = _scaled(values.get(key, 0), steps / recipe.steps)
    if recipe.schedule != "milestones":
        chosen["milestones"] = []
    if own.loss != TrainConfig.model_fields["loss"].default:
        chosen["loss"] = own.model_dump(mode="json")["loss"]
    images: Any = "photos/train"
    if record is not None:
        images = load_config(TrainConfig, record).model_dump(mode="json")["train_data"]["images"]
    return {
        **{key: value for key, value in chosen.items() if key in TrainConfig.model_fields},
        "model": {**own.model_dump(mode="json")["model"], "encoder": ENCODER},
        "train_data": {"sampling": "random-scale", "images": images, **SAMPLES},
        "batch_size": batch,
        "steps": steps,
        "seed": run.seed,
        "workers": 0,
        "log_every": 500,
        "save_every": 500,
    }


def _scaled(value: Any, factor: float) -> Any:  # noqa: ANN401
    """Scale a number of steps, or a list of them; what is not zero stays at least one."""
    if isinstance(value, list):
        return [_scaled(each, factor) for each in value]
    return max(1, round(value * factor)) if value else value


def train_all(todo: Sequence[StudyRun], options: argparse.Namespace) -> list[str]:
    """Train what is not finished, and return the names of the runs that failed."""
    failed: list[str] = []
    for run in todo:
        if run.weights.exists():
            continue
        file = Path("runs/study-configs", f"{run.name}.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        values = training(run, options.record, options.steps, options.batch)
        file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        words = ["train", "--config", str(file), "--name", run.name, "--device", options.device]
        if options.data:
            words += ["--set", f"data_root={json.dumps(str(options.data.absolute()))}"]
        if not liif(words):
            failed.append(run.name)
    return failed


def test_all(todo: Sequence[StudyRun], options: argparse.Namespace) -> list[str]:
    """Test the finished runs where they are not, and return the names of those that failed."""
    failed: list[str] = []
    for run in todo:
        for test in options.sets:
            result = run.result(test)
            if not run.weights.exists() or result.exists():
                continue
            words = ["-q", "test", "--config", f"test-{test}-x2", "--checkpoint", str(run.weights)]
            words += ["--device", options.device, "-o", str(result)]
            words += ["--scale", *map(str, options.scales)]
            if options.data:
                words += ["--set", f"data_root={json.dumps(str(options.data.absolute()))}"]
            if not liif(words):
                failed.append(f"{run.name}, {test}")
    return failed


def liif(words: Sequence[str]) -> bool:
    """Run a command of liif in a process of its own; return whether it succeeded. An interruption
    ends the study, too."""
    command = [sys.executable, "-m", "liif", *words]
    print(f"+ {shlex.join(['liif', *words])}", flush=True)
    status = subprocess.run(command, check=False).returncode
    if status > 128 or status < 0:
        raise SystemExit(status)
    return status == 0


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", type=Path, help="configuration of the best record; recipe c")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--decoders", nargs="+", choices=DECODERS, default=list(DECODERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--scales", nargs="+", type=float, default=list(SCALES))
    parser.add_argument("--data", type=Path, help="data root; default: $LIIF_DATA, else datasets")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--stage", nargs="+", choices=["train", "test", "page"])
    parser.add_argument("--page", type=Path, default=Path(__file__).parent / "decoder-study.md")
    options = parser.parse_args(words)
    stages = options.stage or ["train", "test", "page"]
    if "c" in options.recipes and options.record is None:
        parser.error("recipe c needs --record FILE; --recipes a b leaves it out")
    if options.data and not data_path(str(options.data), "benchmark/Set5").exists():
        parser.error(f"--data {options.data}: has no benchmark/Set5")
    todo = list(runs(options.recipes, options.decoders, options.seeds))
    try:
        failed = train_all(todo, options) if "train" in stages else []
        failed += test_all(todo, options) if "test" in stages else []
        if "page" in stages:
            write_page(options.page, todo, options.sets, options.scales, options.steps, RECIPES)
            print(f"wrote {options.page}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
