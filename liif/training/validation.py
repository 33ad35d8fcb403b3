"""Judging a model on photographs: while it trains, and when it is done."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from liif.core.distributed import ALONE, Team
from liif.core.errors import UserError
from liif.data.pairs import Pair, open_pairs
from liif.data.paths import data_path
from liif.evaluation.evaluate import Score, evaluate, evaluate_distributed
from liif.evaluation.protocols import ScoreProtocol, get_protocol
from liif.figures.sheets import Tile, methods, sheet, window
from liif.images.convert import to_image
from liif.images.rgb8 import write_image
from liif.models.checkpoint import write_atomically
from liif.models.model import SRModel
from liif.training.config import FinalTestConfig, ValidConfig
from liif.training.log import RunLog

log = logging.getLogger("liif")


class Validation:
    """Fixed images at fixed scales."""

    def __init__(self, config: ValidConfig, data_root: str | None) -> None:
        self.config = config
        folder = data_path(data_root, config.images)
        self.sets = {
            scale: open_pairs(folder, scale=(scale, scale), crop=config.crop, limit=config.limit)
            for scale in config.scales
        }
        # Crops are small: made once, and whatever is wrong is found before training starts.
        self.kept = {s: list(pairs) for s, pairs in self.sets.items()} if config.crop else {}
        for scale, pairs in self.kept.items():
            for pair in pairs:
                _check_border(pair, get_protocol(config.protocol, (scale, scale)))

    def judge(
        self,
        model: SRModel,
        record: RunLog,
        step: int,
        stopping: Callable[[], bool],
        team: Team = ALONE,
    ) -> float | None:
        """Score and record the model as of a step; the mean PSNR over scales in dB, or None if
        told to stop half-way. The processes of a team share the images."""
        model.eval()
        psnr: dict[str, float] = {}
        ssim: dict[str, float] = {}
        bicubic: dict[str, float] = {}
        rows: list[list[Tile]] = []
        for scale in self.config.scales:
            protocol = get_protocol(self.config.protocol, (scale, scale))
            found: list[Score] = []
            pairs = self.kept.get(scale, self.sets[scale])
            for score in evaluate_distributed(team, model, pairs, protocol):
                if stopping():
                    return None
                if not found and team.leads:
                    rows.append(window(compare(score, scale), scale=scale))
                # Scores alone are kept: whole images of a set would fill the memory.
                found.append(score._replace(pair=None, sr=None))
            key = f"x{scale:g}"
            psnr[key] = mean([s.psnr for s in found])
            ssim[key] = mean([s.ssim for s in found])
            bicubic[key] = mean([s.bicubic for s in found])
        average = mean(list(psnr.values()))
        scalars = {"psnr": psnr, "ssim": ssim, "bicubic": bicubic, "mean_psnr": average}
        record.record("valid", step, scalars)
        if team.leads:
            record.picture("LR | bicubic | ours | HR", step, sheet(rows))
        each = ", ".join(f"{k} {v:.2f} ({v - bicubic[k]:+.2f})" for k, v in psnr.items())
        log.info("step %d: PSNR in dB (gain over bicubic): %s", step, each)
        return average


class FinalTest:
    """A last look at the finished model: a table beside bicubic and a comparison picture."""

    def __init__(self, config: FinalTestConfig, data_root: str | None) -> None:
        self.config = config
        folder = data_path(data_root, config.images)
        self.sets = {scale: open_pairs(folder, scale=(scale, scale)) for scale in config.scales}

    def judge(self, model: SRModel, folder: Path) -> None:
        """Write test.json and comparison.png (of the first image)."""
        model.eval()
        table: list[dict[str, float]] = []
        rows: list[list[Tile]] = []
        log.info("test on %s, PSNR in dB (protocol %s):", self.config.images, self.config.protocol)
        for scale, pairs in self.sets.items():
            found = list(evaluate(model, pairs, get_protocol(self.config.protocol, (scale, scale))))
            ours, bicubic = mean([s.psnr for s in found]), mean([s.bicubic for s in found])
            gain = ours - bicubic
            log.info("  x%-4g ours %.2f  bicubic %.2f  gain %+.2f", scale, ours, bicubic, gain)
            table.append({"scale": scale, "psnr": ours, "bicubic": bicubic})
            rows.append(window(compare(found[0], scale), scale=scale))
        write_atomically(folder / "test.json", json.dumps(table, indent=1).encode())
        write_image(folder / "comparison.png", sheet(rows))
        log.info("comparison picture: %s", folder / "comparison.png")


def compare(score: Score, scale: float) -> list[Tile]:
    """LR | bicubic | ours | HR of one scored image."""
    assert score.pair is not None and score.sr is not None
    lr, hr = score.pair.lr, score.pair.hr
    title = f"x{scale:g}"
    sr = to_image(score.sr)
    return methods(lr, sr, hr, title=title, psnr=score.psnr, bicubic=score.bicubic)


def mean(values: Sequence[float]) -> float:
    """Of a list that is not empty."""
    return sum(values) / len(values)


def _check_border(pair: Pair, protocol: ScoreProtocol) -> None:
    try:
        protocol.crop(torch.empty(pair.hr.shape[:2]))
    except ValueError as error:
        raise UserError(
            f"{pair.name}: {error}: raise valid.crop or lower valid.scales, or use "
            "valid.protocol: none"
        ) from None
