"""Measuring the cells of a table: what is known already, and the rest, image by image."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch

from liif.core.distributed import ALONE, Team
from liif.core.errors import UserError
from liif.core.parallel import read_ahead
from liif.data.pairs import PairSet, open_pairs
from liif.data.paths import data_path
from liif.evaluation.config import TestConfig
from liif.evaluation.evaluate import Perceptual, bicubic_scores, evaluate_distributed
from liif.evaluation.measurements import ImageKey, Measurements, Record
from liif.evaluation.protocols import get_protocol
from liif.evaluation.table_config import Cell
from liif.inference.predict import InferenceOptions
from liif.models.checkpoint import load_checkpoint, read_checkpoint

METRICS = ("psnr", "psnr_rgb", "psnr_y", "ssim", "lpips")
"""Of a `Score`, kept of every image."""


@dataclass
class Job:
    """What is still to be measured of a cell."""

    cell: Cell
    store: Measurements
    pairs: PairSet
    keys: list[ImageKey]
    """Of the images in `pairs`."""


class Bench:
    """Finds out what is known already and measures the rest."""

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        machine: str,
        by: InferenceOptions,
        perceptual: Perceptual | None,
        team: Team = ALONE,
    ) -> None:
        self.folder, self.device, self.machine, self.team = folder, device, machine, team
        self.by, self.perceptual = by, perceptual
        self.hashes: dict[Path, str] = {}
        self.known: dict[Path, tuple[str, Record]] = {}

    def plan(self, cells: Sequence[Cell], *, needed: Sequence[str]) -> list[Job]:
        """What is to be done, after filling the cells with what is known. A set whose images are
        not there makes its cells `missing`, unless it is `needed`."""
        jobs: list[Job] = []
        for cell in cells:
            if cell.missing:
                continue
            try:
                pairs = _open(cell.test)
            except UserError as error:
                if cell.test.set in needed:
                    raise
                cell.missing = str(error)
                continue
            jobs.append(self._job(cell, pairs))
        return jobs

    def _job(self, cell: Cell, pairs: PairSet) -> Job:
        by = self.by
        if cell.row.lanczos_from is not None:
            by = by._replace(lanczos_from=cell.row.lanczos_from)
        cell.how = {
            "protocol": cell.test.protocol,
            "scale": cell.scale,
            "precision": by.precision,
            "options": by.unusual,
            "metrics": [m for m in METRICS if m != "lpips" or self.perceptual],
        }
        if cell.checkpoint is None:
            cell.how |= {"system": "bicubic", "precision": "8 bit", "options": {}}
            store = Measurements.of(self.folder, cell.how)
        else:
            weights, described = self._describe(cell.checkpoint)
            store = Measurements.of(self.folder, {**cell.how, "weights": weights})
            cell.how |= described
        known = store.read()
        keys = [self._key(pairs, i) for i in range(len(pairs))]
        cell.records = [known[key] for key in keys if key in known]
        cell.how |= {
            "data_sha256": sha256("".join(hr + lr for hr, lr in keys).encode()).hexdigest(),
            "images": len(pairs),
            "lr": cell.test.published_lr or "pillow-bicubic",
        }
        todo = [i for i, key in enumerate(keys) if key not in known]
        return Job(cell, store, pairs.subset(todo), [keys[i] for i in todo])

    def run(self, job: Job) -> Iterator[Record]:
        """Measure, keep and hand out one image after the other."""
        cell = job.cell
        how = get_protocol(cell.test.protocol, cell.test.scale)
        if cell.checkpoint is None:
            if not self.team.leads:
                return
            found = (
                (pair.name, bicubic_scores(pair, cell.test.scale, how, self.perceptual))
                for pair in read_ahead(job.pairs)
            )
        else:
            model = load_checkpoint(cell.checkpoint, self.device)
            by = self.by._replace(lanczos_from=cell.row.lanczos_from or self.by.lanczos_from)
            found = (
                (score.name, {m: getattr(score, m) for m in METRICS})
                for score in evaluate_distributed(
                    self.team, model, job.pairs, how, by, self.perceptual
                )
            )
        for (hr, lr), (name, values) in zip(job.keys, found, strict=True):
            record = {
                "name": name,
                "hr": hr,
                "lr": lr,
                **values,
                "machine": self.machine,
                "date": time.strftime("%Y-%m-%d"),
            }
            if self.team.leads:
                job.store.add(record)
            cell.records.append(record)
            yield record

    def _describe(self, path: Path) -> tuple[str, Record]:
        """A hash of a checkpoint's model and weights, whatever kind of file they are in, and what
        to say of the checkpoint."""
        if path not in self.known:
            checkpoint = read_checkpoint(path)
            digest = sha256(checkpoint.model.model_dump_json().encode())
            for name, value in sorted(checkpoint.weights.items()):
                digest.update(name.encode() + value.contiguous().numpy().tobytes())
            run = checkpoint.training or {}
            self.known[path] = (
                digest.hexdigest(),
                {
                    "checkpoint": str(path),
                    "checkpoint_sha256": self._hash(path),
                    "step": run.get("step"),
                    "steps": run.get("config", {}).get("steps"),
                },
            )
        return self.known[path]

    def _key(self, pairs: PairSet, index: int) -> ImageKey:
        lr = "pillow-bicubic" if pairs.lr is None else self._hash(pairs.lr[index])
        return self._hash(pairs.hr[index]), lr

    def _hash(self, path: Path) -> str:
        if path not in self.hashes:
            self.hashes[path] = sha256(path.read_bytes()).hexdigest()
        return self.hashes[path]


def _open(test: TestConfig) -> PairSet:
    lr = test.published_lr
    return open_pairs(
        data_path(test.data_root, test.hr),
        scale=test.scale,
        lr=None if lr is None else data_path(test.data_root, lr),
    )
