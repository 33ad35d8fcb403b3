"""The result of the evaluation of a set at one scale: what is printed and written of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from liif.data.degradations.build import label
from liif.evaluation.config import TestConfig
from liif.evaluation.evaluate import Failure, Score, mean
from liif.evaluation.named import definitions

KEYS = ("psnr", "psnr_rgb", "psnr_y", "ssim", "bicubic")
"""Fields of a Score that are written to result files."""
COLUMNS = {
    "psnr_rgb": "PSNR, RGB",
    "psnr_y": "PSNR, luma",
    "ssim": "SSIM",
    "bicubic": "bicubic",
}
"""Columns of `score_table`, by fields of a Score."""


@dataclass
class TestResult:
    """Scores of a set at one scale, without images."""

    __test__ = False  # pytest would collect a class of this name

    config: TestConfig
    scores: list[Score] = field(default_factory=list[Score])
    failures: list[Failure] = field(default_factory=list[Failure])

    @property
    def scale(self) -> str:
        """The scale as text, e.g. x2 or x2,3.5 (vertical, horizontal)."""
        y, x = self.config.scale
        return f"x{y:g}" + ("" if y == x else f",{x:g}")

    def record(self, **run: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the content of the result file; `run` is what the run itself adds."""
        config, (y, x) = self.config, self.config.scale
        is_degraded = config.published_lr is None and config.lr_recipe is None
        found = {
            "set": config.set,
            "scale": y if y == x else [y, x],
            "protocol": config.protocol,
            **averages(self.scores),
            **quality_means(self.scores),
            "images": [
                {"name": score.name, **averages([score]), **quality_means([score])}
                for score in self.scores
            ],
            "lr": config.published_lr or config.lr_recipe or label(config.degradation),
            "degrade": config.degradation.model_dump(mode="json") if is_degraded else None,
            "definitions": [str(each) for each in definitions(f"liif-{config.protocol}")],
            **run,
        }
        if self.failures:
            found["failed"] = [{"name": name, "reason": reason} for name, reason in self.failures]
        return found


def averages(scores: Sequence[Score]) -> dict[str, float]:
    """Return the means over images, by KEYS."""
    return {key: mean([getattr(score, key) for score in scores]) for key in KEYS}


def quality_means(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Return the means of the metrics of pyiqa, under one key; {} without any."""
    found = [score.quality for score in scores if score.quality is not None]
    if not found:
        return {}
    return {"quality": {name: mean([each[name] for each in found]) for name in found[0]}}


def score_line(name: str, scores: Sequence[Score]) -> str:
    """Return one line about one image, or about all."""
    line = "{:24} PSNR {psnr:.4f} dB  SSIM {ssim:.4f}  bicubic {bicubic:.4f} dB"
    quality = quality_means(scores).get("quality", {})
    more = "".join(f"  {each} {value:.4f}" for each, value in quality.items())
    return line.format(name, **averages(scores)) + more


def score_table(results: Sequence[TestResult]) -> str:
    """Return a table of the means, with a line for each result."""
    names = quality_means(results[0].scores).get("quality", {})
    rows = [["scale", "images", *COLUMNS.values(), *names]]
    for each in results:
        means = averages(each.scores) | quality_means(each.scores).get("quality", {})
        shown = (f"{means[key]:.4f}" for key in (*COLUMNS, *names))
        rows.append([each.scale, str(len(each.scores)), *shown])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(t.rjust(w) for t, w in zip(row, widths, strict=True)) for row in rows]
    first = results[0].config
    return "\n".join([f"{first.set}, protocol {first.protocol}, PSNR in dB", *lines])
