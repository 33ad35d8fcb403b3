"""Measure the cells of a table, image by image, except what is already measured."""

import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from liif.core.distributed import ALONE, Team
from liif.core.errors import UserError
from liif.core.parallel import background_map, read_ahead
from liif.core.sizes import scale_value
from liif.data.degradations.build import PILLOW_BICUBIC, label
from liif.data.pairs import Pair, PairSet, check_pairs
from liif.data.recipes import pixels_hash
from liif.evaluation.evaluate import (
    METRICS,
    Failure,
    Perceptual,
    bicubic_score,
    evaluate,
    listed,
    readable,
)
from liif.evaluation.measurements import ImageKey, Measurement, MeasurementFile
from liif.evaluation.protocols import get_protocol
from liif.evaluation.table_config import TableCell
from liif.hub.catalog import SHIPPED
from liif.inference.predict import InferenceOptions
from liif.models.build import build_model
from liif.models.checkpoint import load_checkpoint, read_checkpoint
from liif.models.fastest import used_precision

log = logging.getLogger("liif")


@dataclass
class PendingCell:
    """The images of a cell that are not measured yet."""

    cell: TableCell
    file: MeasurementFile
    pairs: PairSet
    keys: list[ImageKey]
    """Keys of the images in `pairs`."""
    options: InferenceOptions


@dataclass
class TableEvaluator:
    """Measures cells and keeps the measurements in a folder."""

    folder: Path
    device: torch.device
    machine: str
    options: InferenceOptions
    perceptual: Perceptual | None
    team: Team = ALONE

    def find_pending(
        self, cells: Sequence[TableCell], *, required: Sequence[str]
    ) -> list[PendingCell]:
        """Add the known measurements to the cells and return what remains to be measured.

        Raises UserError if the images of a required set are missing or too small. The cells of
        other sets then get a reason `missing`.
        """
        pending: list[PendingCell] = []
        file_hash, describe = cache(_file_hash), cache(_describe)
        for cell in cells:
            if cell.missing:
                continue
            try:
                pairs = cell.test.open_pairs()
                check_pairs(pairs, border=get_protocol(cell.test.protocol, cell.test.scale).border)
            except UserError as error:
                if cell.test.set in required:
                    raise
                cell.missing = str(error)
                continue
            lr = map(file_hash, pairs.lr) if pairs.lr else _made_from(pairs)
            keys = list(zip(map(file_hash, pairs.hr), lr, strict=True))
            options, checkpoint = self.options, cell.checkpoint and describe(cell.checkpoint)
            if cell.row.lanczos_from is not None:
                options = options._replace(lanczos_from=cell.row.lanczos_from)
            if cell.row.clip_cell is not None:
                options = options._replace(clip_cell=cell.row.clip_cell)
            if cell.row.rotation_ensemble:
                options = options._replace(rotation_ensemble=True, self_ensemble=False)
            settings = self._settings(cell, options)
            if checkpoint is None:
                settings |= {"system": "bicubic", "precision": "8 bit", "options": {}}
            else:
                settings["weights"] = checkpoint["weights"]
                _check_seed(cell, checkpoint.get("seed"))
            file = MeasurementFile(self.folder, settings)
            known = file.read()
            cell.measurements = [known[key] for key in keys if key in known]
            cell.settings = {
                **settings,
                **(checkpoint or {}),
                "data_sha256": sha256("".join(hr + lr for hr, lr in keys).encode()).hexdigest(),
                "images": len(pairs),
                "lr": cell.test.published_lr or cell.test.lr_recipe or label(pairs.degradation),
            }
            todo = [i for i, key in enumerate(keys) if key not in known]
            rest, rest_keys = pairs.subset(todo), [keys[i] for i in todo]
            pending.append(PendingCell(cell, file, rest, rest_keys, options))
        return pending

    def _settings(self, cell: TableCell, options: InferenceOptions) -> dict[str, Any]:
        """Return what a cell's scores depend on, apart from the images and the weights."""
        return {
            "protocol": cell.test.protocol,
            "scale": scale_value(cell.scale),
            "precision": used_precision(self.device, options.precision),
            "options": options.non_default,
            "metrics": [metric for metric in METRICS if metric != "lpips" or self.perceptual],
        }

    def measure(self, pending: PendingCell) -> Iterator[Measurement]:
        """Measure one image after the other; store each measurement, then yield it.

        Only the leading process measures bicubic, which is cheap; the others yield nothing. If
        images cannot be read, the cell gets a reason `missing`, and the others are measured.
        """
        failures: list[Failure] = []
        cell, pairs, perceptual = pending.cell, pending.pairs, self.perceptual
        scale, protocol = cell.test.scale, get_protocol(cell.test.protocol, cell.test.scale)
        if cell.checkpoint is not None:
            model = load_checkpoint(cell.checkpoint, self.device)
            # Bicubic is a row of its own.
            unused = dict.fromkeys(pairs.names, math.nan)
            scores = evaluate(
                model, pairs, protocol, pending.options, perceptual, self.team, bicubic=unused,
                failures=failures,
            )  # fmt: skip
        elif self.team.leads:
            # The luma of a recipe's images is that of the images themselves.
            degraded = cell.test.degrade is not None or cell.test.lr_recipe is not None
            measure = partial(
                bicubic_score, scale=scale, protocol=protocol, perceptual=perceptual,
                degraded=degraded,
            )  # fmt: skip
            found = _without_failures(readable(pairs, range(len(pairs))), failures)
            # LPIPS is not for several threads at once.
            scores = (map if perceptual else background_map)(measure, read_ahead(found))
        else:
            return
        keys = dict(zip(pairs.names, pending.keys, strict=True))
        positions = {name: i for i, name in enumerate(pairs.names)}
        for score in scores:
            hr, lr = keys[score.name]
            measurement: Measurement = {"name": score.name, "hr": hr, "lr": lr}
            if pairs.recipe is not None:
                made = pairs.pair(positions[score.name]).lr
                measurement["lr_sha256"] = pixels_hash(made)
            measurement |= {metric: getattr(score, metric) for metric in METRICS}
            measurement |= {"machine": self.machine, "date": time.strftime("%Y-%m-%d")}
            if self.team.leads:
                pending.file.append(measurement)
            cell.measurements.append(measurement)
            yield measurement
        if failures:
            cell.missing = listed(failures, cell.settings["images"])
            log.error("%s: %s", cell.title, cell.missing)


def _without_failures(pairs: Iterable[Pair | Failure], failures: list[Failure]) -> Iterator[Pair]:
    """Yield the pairs, and add the failures to the list."""
    for pair in pairs:
        if isinstance(pair, Failure):
            failures.append(pair)
        else:
            yield pair


def _file_hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _made_from(pairs: PairSet) -> Iterator[str]:
    """Yield what the low-resolution images are, besides the files that they are made from: what is
    random in a degradation depends on the image's name."""
    made_by = label(pairs.degradation) if pairs.recipe is None else f"recipe {pairs.recipe}"
    is_random = pairs.recipe is None and pairs.degradation != PILLOW_BICUBIC
    for name in pairs.names:
        yield f"{made_by}: {name}" if is_random else made_by


def _check_seed(cell: TableCell, seed: int | None) -> None:
    """Raise UserError if a checkpoint was trained with another seed than its cell's."""
    if cell.seed is not None and seed not in (None, cell.seed):
        raise UserError(
            f"{cell.checkpoint}: trained with seed {seed}, but row {cell.row.name!r} needs seed "
            f"{cell.seed}; train it with --set seed={cell.seed} --name {cell.run}"
        )


def _describe(path: Path) -> dict[str, Any]:
    """Return what the report says about a checkpoint, and `weights`: a hash of its model and
    weights, which does not depend on the file format. `seconds` is the time spent on steps."""
    checkpoint = read_checkpoint(path)
    weights = sha256(checkpoint.model.model_dump_json().encode())
    for name, value in sorted(checkpoint.weights.items()):
        weights.update(name.encode() + value.contiguous().numpy().tobytes())
    run = checkpoint.training or {}
    config = run.get("config", {})
    parameters = build_model(checkpoint.model).parameters()
    # A model of the package is named alike wherever that is installed.
    shown = path.relative_to(SHIPPED.parents[1]) if path.is_relative_to(SHIPPED) else path
    return {
        "weights": weights.hexdigest(),
        "checkpoint": shown.as_posix(),
        "checkpoint_sha256": _file_hash(path),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "step": run.get("step"),
        "steps": config.get("steps"),
        "seconds": run.get("seconds"),
        "seed": config.get("seed"),
    }
