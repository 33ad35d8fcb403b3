"""Validation during training, and the test of the finished model."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from liif.core.distributed import ALONE, Team
from liif.core.errors import UserError
from liif.core.files import to_json, write_atomically
from liif.data.pairs import Pair, PairFormats, PairSet, check_pairs, open_pairs
from liif.data.paths import data_path
from liif.evaluation.evaluate import Failure, Perceptual, Score, evaluate, listed, mean
from liif.evaluation.perceptual import SMALLEST, lpips_score
from liif.evaluation.protocols import ProtocolName, get_protocol
from liif.figures.sheets import Tile, centre_crops, method_tiles, sheet
from liif.images.channels import RGB8
from liif.images.convert import as_rgb8
from liif.images.resize import matlab_bicubic
from liif.images.rgb8 import write_image
from liif.models.model import SRModel
from liif.training.config import FinalTestConfig, ScoredImages, ValidConfig
from liif.training.log import NullLog
from liif.training.schedule import is_due

log = logging.getLogger("liif")


class ScaleScores(NamedTuple):
    """Mean scores of a set at one scale, and the crops of its first image."""

    scale: float
    psnr: float
    """In dB, as are those of bicubic."""
    ssim: float
    lpips: float | None
    """None if it was not requested."""
    bicubic: float
    tiles: list[Tile]


@dataclass
class Baseline:
    """What stays the same of bicubic from one validation of a set at one scale to the next."""

    psnr: dict[str, float] = field(default_factory=dict[str, float])
    """In dB, by the names of the images."""
    first: np.ndarray | None = None
    """The enlargement of the first image, uint8 (H, W, 3)."""


class Validation:
    """Scores at fixed scales on a fixed set of images."""

    def __init__(
        self,
        config: ValidConfig,
        data_root: str | None,
        device: torch.device | None = None,
        forms: PairFormats = (RGB8, RGB8),
    ) -> None:
        """Open the set and check it, from the headers of its images.

        Args:
            forms: what is kept of low- and of high-resolution images.
            device: where LPIPS is computed, if the configuration asks for it.

        Raises:
            UserError: no images, or one that is too small for the crop, a scale, the protocol or
                LPIPS; LPIPS is not installed.
        """
        self.every, self.best, self.patience = config.every, config.best, config.patience
        self.perceptual: Perceptual | None = None
        if config.lpips or config.best == "lpips":
            key = "valid.lpips: true" if config.lpips else "valid.best: lpips"
            self.perceptual = lpips_score(device or torch.device("cpu"), key)
        self.protocol: ProtocolName = config.protocol
        if self.perceptual is not None and forms[1].channels != 3:
            raise UserError("valid: LPIPS compares RGB images; remove lpips or best: lpips")
        opened = _open_all(
            config, data_root, "valid", forms, crop=config.crop, limit=config.limit,
            has_lpips=self.perceptual is not None,
        )  # fmt: skip
        self.sets: dict[float, PairSet | list[Pair]] = {**opened}
        if config.crop:  # crops are small enough to be kept
            self.sets = {scale: list(pairs) for scale, pairs in opened.items()}
        self.baselines = {scale: Baseline() for scale in self.sets}

    def is_due(self, step: int, steps: int, validated: int) -> bool:
        """Return whether to validate after `step` of `steps`; the last time was at `validated`."""
        return is_due(step, self.every, steps, validated)

    def run(
        self,
        model: SRModel,
        record: NullLog,
        step: int,
        stopping: Callable[[], bool],
        team: Team = ALONE,
    ) -> float | None:
        """Score a model and record it as that of a step; processes of a team share the images.

        Returns:
            What decides which validation is the best, larger is better: the mean over scales of
            PSNR in dB, of SSIM, or the negative of that of LPIPS. None if told to stop on the way.
        """
        scores = _scores_at_scales(
            model, self.sets, self.protocol, team, stopping, self.perceptual, self.baselines
        )
        found = list(scores)
        if len(found) < len(self.sets):
            return None
        by_scale = {f"x{each.scale:g}": each for each in found}
        metrics = ["psnr", "ssim"] + ["lpips"] * (self.perceptual is not None)
        means = {name: mean([getattr(each, name) for each in found]) for name in metrics}
        scalars = {
            name: {key: getattr(each, name) for key, each in by_scale.items()}
            for name in (*metrics, "bicubic")
        }
        record.record("valid", step, scalars | {f"mean_{k}": value for k, value in means.items()})
        if team.leads:
            record.picture("LR | bicubic | ours | HR", step, sheet([each.tiles for each in found]))
        gains = [f"{k} {s.psnr:.2f} ({s.psnr - s.bicubic:+.2f})" for k, s in by_scale.items()]
        shown = {self.best, "lpips"} & (means.keys() - {"psnr"})
        others = [f"; mean {name.upper()} {means[name]:.4f}" for name in sorted(shown)]
        text = ", ".join(gains) + "".join(others)
        log.info("step %d: PSNR in dB (gain over bicubic): %s", step, text)
        return -means["lpips"] if self.best == "lpips" else means[self.best]

    def seconds(self, model: SRModel) -> float:
        """Return about how long a validation takes, from one image at each scale."""
        total = 0.0
        model.eval()
        for scale, pairs in self.sets.items():
            rule = get_protocol(self.protocol, (scale, scale))
            begun = time.perf_counter()
            list(evaluate(model, pairs[:1], rule, perceptual=self.perceptual))
            total += (time.perf_counter() - begun) * len(pairs)
        return total

    def is_out_of_patience(self, stale: int) -> bool:
        """Return whether a run stops early after so many validations without a better score."""
        return self.patience is not None and stale >= self.patience


class FinalTest:
    """Test of the finished model: a table beside bicubic and a comparison image."""

    def __init__(
        self, config: FinalTestConfig, data_root: str | None, forms: PairFormats = (RGB8, RGB8)
    ) -> None:
        """Open the set and check it. Raises UserError as `Validation` does."""
        self.images = config.images
        self.protocol: ProtocolName = config.protocol
        self.sets = _open_all(config, data_root, "test", forms)

    def run(
        self, model: SRModel, folder: Path, stopping: Callable[[], bool], team: Team = ALONE
    ) -> bool:
        """Write test.json and comparison.png (of the first image) to a folder; return False if told
        to stop on the way. Raises UserError, after both are written, if images have no scores."""
        log.info("test on %s, PSNR in dB (protocol %s):", self.images, self.protocol)
        found: list[ScaleScores] = []
        failures: list[Failure] = []
        scores = _scores_at_scales(
            model, self.sets, self.protocol, team, stopping, failures=failures
        )
        for each in scores:
            numbers = each.scale, each.psnr, each.bicubic, each.psnr - each.bicubic
            log.info("  x%-4g ours %.2f  bicubic %.2f  gain %+.2f", *numbers)
            found.append(each)
        if len(found) < len(self.sets):
            return False
        failed = {each.name: each for each in failures}
        message = f"test: {listed([*failed.values()], max(map(len, self.sets.values())))}"
        if team.leads:
            table = [{"scale": s.scale, "psnr": s.psnr, "bicubic": s.bicubic} for s in found]
            table = [{**line, "failed": sorted(failed)} for line in table] if failed else table
            write_atomically(folder / "test.json", to_json(table, indent=1).encode())
            rows = [each.tiles for each in found if each.tiles]
            if rows:
                write_image(folder / "comparison.png", sheet(rows))
                log.info("comparison image: %s", folder / "comparison.png")
        if failed:
            raise UserError(f"{message}. The scores of the others are in {folder / 'test.json'}")
        return True


def _open_all(
    config: ScoredImages,
    data_root: str | None,
    section: str,
    forms: PairFormats,
    crop: int | None = None,
    limit: int = 0,
    has_lpips: bool = False,
) -> dict[float, PairSet]:
    """Open and check the set of each scale, and warn of bits that are dropped."""
    sets: dict[float, PairSet] = {}
    for scale in config.scales:
        published = config.published_lr(scale)
        lr = None if published is None else data_path(data_root, published)
        try:
            pairs = open_pairs(
                data_path(data_root, config.images), scale=(scale, scale), lr=lr, crop=crop,
                limit=limit, degradation=config.degrade, forms=forms, lr_name=config.lr_name,
            )  # fmt: skip
            border = get_protocol(config.protocol, (scale, scale)).border
            check_pairs(pairs, border=border, least=SMALLEST if has_lpips else 1, metric="LPIPS")
        except UserError as error:
            is_lr = lr is not None and str(error).startswith((str(lr), str(lr.absolute())))
            key = "lr" if is_lr else "images"
            raise UserError(f"{section}.{key}: {error}") from None
        pairs.warn_of_dropped_bits(published_only=len(sets) > 0)
        sets[scale] = pairs
    return sets


def _scores_at_scales(
    model: SRModel,
    sets: Mapping[float, PairSet | list[Pair]],
    protocol: ProtocolName,
    team: Team,
    stopping: Callable[[], bool],
    perceptual: Perceptual | None = None,
    baselines: Mapping[float, Baseline] | None = None,
    failures: list[Failure] | None = None,
) -> Iterator[ScaleScores]:
    """Yield the mean scores at each scale, in order, NaN where no image has any; end early if told
    to stop. What `baselines` miss is added to them, and `failures` are as in `evaluate`."""
    model.eval()
    for scale, pairs in sets.items():
        scores: list[Score] = []
        tiles: list[Tile] = []
        rule = get_protocol(protocol, (scale, scale))
        known = Baseline() if baselines is None else baselines[scale]
        for score in evaluate(
            model, pairs, rule, perceptual=perceptual, team=team, bicubic=known.psnr,
            failures=failures,
        ):  # fmt: skip
            if team.any(stopping()):
                return
            if not tiles and team.leads and score.pair is not None:
                tiles = _comparison(score, scale, known)
            # Images are dropped at once: those of a whole set would fill the memory.
            scores.append(score._replace(pair=None, sr=None))
        psnr, ssim, bicubic = (
            mean([getattr(score, name) for score in scores] or [math.nan])
            for name in ("psnr", "ssim", "bicubic")
        )
        similar = [score.lpips for score in scores if score.lpips is not None]
        lpips = mean(similar) if similar else None
        yield ScaleScores(scale, psnr, ssim, lpips, bicubic, tiles)


def _comparison(score: Score, scale: float, baseline: Baseline) -> list[Tile]:
    """Return the middle of one image as LR | bicubic | ours | HR."""
    assert score.pair is not None and score.sr is not None
    shown = score.pair.lr, score.pair.hr, score.sr.permute(1, 2, 0).cpu().numpy()
    lr, hr, sr = map(as_rgb8, shown)
    if baseline.first is None:
        baseline.first = matlab_bicubic(lr, (hr.shape[0], hr.shape[1]))
    tiles = method_tiles(
        lr, sr, hr, baseline.first, title=f"x{scale:g}", psnr=score.psnr, bicubic=score.bicubic
    )
    return centre_crops(tiles, scale=scale)
