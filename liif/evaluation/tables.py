"""Measure the cells of a table, image by image, except what is already measured."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from liif.core.distributed import ALONE, Team
from liif.core.errors import UserError
from liif.core.parallel import read_ahead
from liif.data.pairs import PairSet
from liif.evaluation.evaluate import Metrics, Perceptual, bicubic_metrics, evaluate_distributed
from liif.evaluation.measurements import ImageKey, Measurement, MeasurementFile
from liif.evaluation.protocols import get_protocol
from liif.evaluation.table_config import TableCell
from liif.inference.predict import InferenceOptions
from liif.models.checkpoint import load_checkpoint, read_checkpoint


@dataclass
class PendingCell:
    """The images of a cell that are not measured yet."""

    cell: TableCell
    file: MeasurementFile
    pairs: PairSet
    keys: list[ImageKey]
    """Keys of the images in `pairs`."""
    options: InferenceOptions


class TableEvaluator:
    """Measures cells and keeps the measurements in a folder."""

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        machine: str,
        options: InferenceOptions,
        perceptual: Perceptual | None,
        team: Team = ALONE,
    ) -> None:
        self.folder, self.device, self.machine, self.team = folder, device, machine, team
        self.options, self.perceptual = options, perceptual
        self._hashes: dict[Path, str] = {}
        self._checkpoints: dict[Path, tuple[str, dict[str, Any]]] = {}

    def find_pending(
        self, cells: Sequence[TableCell], *, required: Sequence[str]
    ) -> list[PendingCell]:
        """Add the known measurements to the cells and return what remains to be measured.

        Raises:
            UserError: the images of a required set are missing. Without images, the cells of other
                sets get a reason `missing`.
        """
        pending: list[PendingCell] = []
        for cell in cells:
            if cell.missing:
                continue
            try:
                pairs = cell.test.open_pairs()
            except UserError as error:
                if cell.test.set in required:
                    raise
                cell.missing = str(error)
                continue
            pending.append(self._add_known(cell, pairs))
        return pending

    def _add_known(self, cell: TableCell, pairs: PairSet) -> PendingCell:
        options = self.options
        if cell.row.lanczos_from is not None:
            options = options._replace(lanczos_from=cell.row.lanczos_from)
        settings = {
            "protocol": cell.test.protocol,
            "scale": cell.scale,
            "precision": options.precision,
            "options": options.non_default,
            "metrics": [m for m in Metrics._fields if m != "lpips" or self.perceptual],
        }
        if cell.checkpoint is None:
            settings |= {"system": "bicubic", "precision": "8 bit", "options": {}}
            described: dict[str, Any] = {}
            file = MeasurementFile.in_folder(self.folder, settings)
        else:
            weights, described = self._describe(cell.checkpoint)
            file = MeasurementFile.in_folder(self.folder, {**settings, "weights": weights})
        known = file.read()
        keys = [self._key(pairs, i) for i in range(len(pairs))]
        cell.measurements = [known[key] for key in keys if key in known]
        cell.settings = {
            **settings,
            **described,
            "data_sha256": sha256("".join(hr + lr for hr, lr in keys).encode()).hexdigest(),
            "images": len(pairs),
            "lr": cell.test.published_lr or "pillow-bicubic",
        }
        todo = [i for i, key in enumerate(keys) if key not in known]
        return PendingCell(cell, file, pairs.subset(todo), [keys[i] for i in todo], options)

    def measure(self, pending: PendingCell) -> Iterator[Measurement]:
        """Measure one image after the other; store each measurement, then yield it.

        Only the leading process measures bicubic, which is cheap; the others yield nothing.
        """
        if pending.cell.checkpoint is None and not self.team.leads:
            return
        for key, (name, metrics) in zip(pending.keys, self._scores(pending), strict=True):
            measurement: Measurement = {
                "name": name,
                **dict(zip(("hr", "lr"), key, strict=True)),
                **metrics._asdict(),
                "machine": self.machine,
                "date": time.strftime("%Y-%m-%d"),
            }
            if self.team.leads:
                pending.file.append(measurement)
            pending.cell.measurements.append(measurement)
            yield measurement

    def _scores(self, pending: PendingCell) -> Iterator[tuple[str, Metrics]]:
        test, checkpoint = pending.cell.test, pending.cell.checkpoint
        protocol = get_protocol(test.protocol, test.scale)
        if checkpoint is None:
            for pair in read_ahead(pending.pairs):
                yield pair.name, bicubic_metrics(pair, test.scale, protocol, self.perceptual)
            return
        model = load_checkpoint(checkpoint, self.device)
        for score in evaluate_distributed(
            self.team, model, pending.pairs, protocol, pending.options, self.perceptual
        ):
            yield score.name, Metrics(*(getattr(score, name) for name in Metrics._fields))

    def _describe(self, path: Path) -> tuple[str, dict[str, Any]]:
        """Return a hash of a checkpoint's model and weights, which does not depend on the file
        format, and what the report says about the checkpoint."""
        if path not in self._checkpoints:
            checkpoint = read_checkpoint(path)
            digest = sha256(checkpoint.model.model_dump_json().encode())
            for name, value in sorted(checkpoint.weights.items()):
                digest.update(name.encode() + value.contiguous().numpy().tobytes())
            run = checkpoint.training or {}
            self._checkpoints[path] = (
                digest.hexdigest(),
                {
                    "checkpoint": str(path),
                    "checkpoint_sha256": self._hash(path),
                    "step": run.get("step"),
                    "steps": run.get("config", {}).get("steps"),
                },
            )
        return self._checkpoints[path]

    def _key(self, pairs: PairSet, index: int) -> ImageKey:
        lr = "pillow-bicubic" if pairs.lr is None else self._hash(pairs.lr[index])
        return self._hash(pairs.hr[index]), lr

    def _hash(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = sha256(path.read_bytes()).hexdigest()
        return self._hashes[path]
