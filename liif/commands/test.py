"""`liif test`: evaluate a model on a set of images, at one scale or several."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from liif.commands import options as shared
from liif.commands.arguments.shared import usage_error
from liif.commands.device import keep_freed_memory, select_device
from liif.core.config_file import load_config, read_values, validated
from liif.core.distributed import Team, joined
from liif.core.errors import UserError
from liif.core.files import to_json, write_atomically
from liif.core.outputs import check_outputs
from liif.core.parallel import background_map
from liif.core.progress import progress_bar
from liif.core.shipped import find_config
from liif.data.pairs import PairSet, check_pairs
from liif.data.recipes import pixels_hash, set_hash
from liif.evaluation.config import TestConfig
from liif.evaluation.evaluate import Failure, Score, evaluate, listed
from liif.evaluation.protocols import get_protocol
from liif.evaluation.quality import Quality, quality_metrics
from liif.evaluation.test_result import TestResult, score_line, score_table
from liif.hub.catalog import find_model
from liif.hub.pretrained import load, resolve_checkpoint
from liif.images.channels import suffix_for, write_pixels
from liif.inference.predict import InferenceOptions
from liif.models.fastest import used_precision
from liif.models.model import SRModel

DEFAULT_SCALE = (4.0, 4.0)


def run(options: argparse.Namespace) -> int:
    configs = _configs(options)
    given = options.checkpoint
    if given is None and options.config:  # else the default model
        given = _configured_checkpoint(configs[0], options.config)
    device = select_device(options.device)
    keep_freed_memory(device)
    inference = shared.inference_options(options)
    files = shared.config_files(options.config) if options.config else []
    if options.output:
        check_outputs([options.output], files, overwrite=True)  # others are not known yet
    checkpoint = resolve_checkpoint(given)
    model = load(checkpoint, device)
    tests = [_Test(config, model, options.save_images, len(configs) > 1) for config in configs]
    outputs: list[Path] = [options.output] if options.output else []
    inputs = [checkpoint, *files]
    for test in tests:
        outputs += test.images.values()
        inputs += [*test.pairs.hr, *(test.pairs.lr or [])]
    check_outputs(outputs, inputs, overwrite=options.overwrite)
    quality = quality_metrics(options.metric, device)
    results: list[TestResult] = []
    records: list[dict[str, Any]] = []
    with joined(device) as team:
        for test in tests:
            started = time.perf_counter()
            result = test.run(model, inference, team, quality, quiet=options.quiet)
            if result.scores:
                results.append(result)
                records.append(
                    result.record(
                        checkpoint=str(given or checkpoint),
                        precision=used_precision(device, inference.precision),
                        options=inference.non_default,
                        seconds=round(time.perf_counter() - started, 3),
                        **test.lr_hash(),
                    )
                )
        if team.leads:
            _report(results, options, records, is_table=options.data or len(tests) > 1)
    failed = {each.name: each for test in tests for each in test.failures}
    if failed:
        raise UserError(listed([*failed.values()], max(len(test.pairs) for test in tests)))
    return 0


def _configs(options: argparse.Namespace) -> list[TestConfig]:
    """Return the configuration of each scale: that of --config, and what other options replace."""
    if not (options.config or options.data):
        raise usage_error("test", "give --data FOLDER with images, or --config FILE")
    changes: dict[str, Any] = {}
    if options.data:
        folder: Path = options.data.expanduser().absolute()
        is_built_in = str(options.data).startswith("builtin:")
        changes["hr"] = str(options.data if is_built_in else folder)
        changes |= {"set": folder.resolve().name or "data", "lr": None}
    if options.protocol:
        changes["protocol"] = options.protocol
    if options.lr and options.lr_recipe:
        raise usage_error("test", "--lr-recipe: makes the images that --lr names; give one of them")
    if options.lr_recipe:
        changes["lr_recipe"] = options.lr_recipe
    if options.lr:
        changes["lr"] = str(options.lr.expanduser().absolute())
    chosen = {*changes, *["scale"][: len(options.scale)]}
    if replaced := read_values(None, options.set)[0].keys() & chosen:
        key = min(replaced)
        option = {"hr": "data", "set": "data"}.get(key, key)
        raise usage_error("test", f"--set {key} is replaced by --{option}; give one of them")
    if options.config:
        config = load_config(TestConfig, options.config, options.set)
    else:
        data, origins = read_values(None, options.set)
        data = {"set": "", "hr": "", "scale": DEFAULT_SCALE, "protocol": "benchmark", **data}
        config = validated(TestConfig, data, origins, Path("--data"))
    scales: list[tuple[float, float]] = options.scale or [config.scale]
    if options.lr:
        _check_lr(options, config, scales)
    return [
        config.model_copy(update={**changes, "scale": each, **_lr_scales(options, each)})
        for each in dict.fromkeys(scales)
    ]


def _lr_scales(options: argparse.Namespace, scale: tuple[float, float]) -> dict[str, Any]:
    return {"lr_scales": (scale[0],)} if options.lr else {}


def _check_lr(
    options: argparse.Namespace, config: TestConfig, scales: list[tuple[float, float]]
) -> None:
    """Raise UsageError if low-resolution images that are given would not be used."""
    if config.degrade is not None:
        text = "--lr: excludes `degrade`, which makes low-resolution images"
        raise usage_error("test", text)
    if any(y != x for y, x in scales):
        raise usage_error("test", "--lr: needs one scale for height and width")
    if len(set(scales)) > 1 and "{scale}" not in str(options.lr):
        text = "--lr: name a folder for each scale, e.g. --lr 'set/LR_bicubic/X{scale}'"
        raise usage_error("test", text)


class _Test:
    """A set at one scale: opened, and checked by the headers of its images."""

    def __init__(
        self, config: TestConfig, model: SRModel, folder: Path | None, has_others: bool
    ) -> None:
        """`folder` is for the enlarged images; with other scales, for a folder of each."""
        self.config = config
        self.pairs: PairSet = config.open_pairs((model.channels.input, model.channels.output))
        self.protocol = get_protocol(config.protocol, config.scale)
        check_pairs(self.pairs, border=self.protocol.border)
        self.pairs.warn_of_dropped_bits()
        self.failures: list[Failure] = []
        self.scale = TestResult(config).scale if has_others else ""
        self.images: dict[str, Path] = {}
        """Files of the enlarged images, by name."""
        if folder is not None:
            place, suffix = folder / self.scale, suffix_for(self.pairs.forms[1])
            self.images = {name: place / f"{name}{suffix}" for name in self.pairs.names}

    def run(
        self,
        model: SRModel,
        inference: InferenceOptions,
        team: Team,
        quality: Sequence[Quality],
        *,
        quiet: bool,
    ) -> TestResult:
        """Score the images, print a line for each and save them. What cannot be scored or saved is
        added to `failures`."""
        result = TestResult(self.config)
        with progress_bar(total=len(self.pairs), unit="image") as bar:
            scores = evaluate(
                model, self.pairs, self.protocol, inference, team=team, failures=result.failures,
                quality=quality,
            )  # fmt: skip
            for score in background_map(self._save, scores) if self.images else scores:
                result.scores.append(score._replace(pair=None, sr=None))
                bar.update()
                if team.leads and not quiet:
                    name = f"{score.name} {self.scale}".rstrip()
                    bar.write(score_line(name, [score]), sys.stdout)
        self.failures += result.failures
        return result

    def lr_hash(self) -> dict[str, str]:
        """Return the hash of the low-resolution images of a recipe, as in their manifest."""
        if self.config.lr_recipe is None:
            return {}
        pairs = zip(self.pairs.hr, self.pairs, strict=True)
        return {"lr_sha256": set_hash((path.stem, pixels_hash(pair.lr)) for path, pair in pairs)}

    def _save(self, score: Score) -> Score:
        if isinstance(score.sr, torch.Tensor):
            image = score.sr.permute(1, 2, 0).cpu().numpy()
            try:
                write_pixels(self.images[score.name], image, self.pairs.forms[1])
            except UserError as error:
                self.failures.append(Failure(score.name, str(error)))
        return score


def _report(
    results: list[TestResult],
    options: argparse.Namespace,
    records: list[dict[str, Any]],
    *,
    is_table: bool,
) -> None:
    """Print the means, and write the result file: one result, or a list of them by scale."""
    if not results:
        return
    if is_table:
        print(score_table(results))
    else:
        (result,) = results
        title = f"mean {result.config.set} {result.scale}"
        print(f"{score_line(title, result.scores)}  protocol {result.config.protocol}")
    if options.output:
        content = records if len(records) > 1 else records[0]
        write_atomically(options.output, (to_json(content, indent=1) + "\n").encode())


def _configured_checkpoint(config: TestConfig, file: Path) -> Path:
    if config.checkpoint is None:
        raise UserError(f"{file}: checkpoint: not set; use --checkpoint FILE")
    path = Path(config.checkpoint).expanduser()
    if path.exists() or find_model(config.checkpoint) is not None:
        return path
    training = file.parent / f"{path.parent.name}.yaml"
    if not training.exists():
        raise UserError(f"{file}: no checkpoint at {path}; use --checkpoint FILE for another")
    name = training.stem if find_config(Path(training.stem)) == training else training
    text = f"no checkpoint at {path}; train it with\n  liif train --config {name}"
    raise UserError(f"{text}\nor use --checkpoint FILE for another")
