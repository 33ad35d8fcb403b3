"""The page of the decoder study: means and intervals over seeds, differences, and what is sure.

Two intervals of a difference between two decoders are computed, each of 95 %: over trainings, by
Student's t of the differences seed by seed; and over images, by the paired bootstrap of the
differences image by image, averaged over seeds. A difference is called significant if neither
interval contains zero.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from liif.core.errors import UserError
from liif.core.files import write_atomically
from liif.evaluation.bootstrap import Difference, paired_difference
from liif.models.checkpoint import read_checkpoint
from liif.models.cost import decoder_cost

BASELINE = "liif"
T975 = (math.inf, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Quantiles of Student's t at 97.5 %, by degrees of freedom."""
COST_SCALE = 4


class StudyRun(NamedTuple):
    """One training of the study."""

    recipe: str
    decoder: str
    seed: int

    @property
    def name(self) -> str:
        return f"study-{self.recipe}-{self.decoder}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        return Path("runs") / self.name

    @property
    def weights(self) -> Path:
        """The file that a finished run has."""
        return self.folder / "last.safetensors"

    def result(self, test: str) -> Path:
        """The scores on a set, as `liif test -o` writes them."""
        return self.folder / f"{test}.json"


Key = tuple[str, str, int]
"""Recipe, decoder, seed."""
Scores = dict[Key, dict[tuple[str, float, str], float]]
"""PSNR in dB of each run, by set, scale and image."""


class Compared(NamedTuple):
    """The difference of a decoder from another one in a recipe at a scale."""

    mean: float
    half: float
    """Half of the interval over seeds."""
    images: Difference
    seeds: int

    @property
    def is_significant(self) -> bool:
        is_sure = abs(self.mean) > self.half
        return is_sure and (self.images.low > 0 or self.images.high < 0)


def mean_and_half(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and half of its 95 % interval by Student's t; infinite for one value."""
    n = len(values)
    mean = sum(values) / n
    if n == 1:
        return mean, math.inf
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    return mean, T975[min(n - 1, len(T975) - 1)] * math.sqrt(variance / n)


def read_scores(runs: Sequence[StudyRun], sets: Sequence[str]) -> Scores:
    """Return the scores of all runs that are tested on all sets."""
    scores: Scores = {}
    for run in runs:
        files = [run.result(test) for test in sets]
        if not all(file.exists() for file in files):
            continue
        found: dict[tuple[str, float, str], float] = {}
        for file in files:
            content: Any = json.loads(file.read_text(encoding="utf-8"))
            for each in content if isinstance(content, list) else [content]:
                for image in each["images"]:
                    found[each["set"], float(each["scale"]), image["name"]] = image["psnr"]
        scores[run.recipe, run.decoder, run.seed] = found
    return scores


def set_means(
    scores: Scores, recipe: str, decoder: str, name: str, scale: float
) -> dict[int, float]:
    """Return the mean PSNR of a set at a scale, by seed."""
    found: dict[int, float] = {}
    for (r, d, seed), values in scores.items():
        if (r, d) == (recipe, decoder):
            chosen = [v for (s, x, _), v in values.items() if (s, x) == (name, scale)]
            if chosen:
                found[seed] = sum(chosen) / len(chosen)
    return found


def compared(
    scores: Scores, first: tuple[str, str], second: tuple[str, str], scale: float
) -> Compared | None:
    """Return the difference of the second (recipe, decoder) from the first at a scale, over the
    images of all sets and the seeds that both have; None without any."""
    seeds = [s for r, d, s in scores if (r, d) == first and (*second, s) in scores]
    if not seeds:
        return None
    images = [key for key in scores[(*first, seeds[0])] if key[1] == scale]
    table = [[scores[(*each, s)] for each in (first, second)] for s in seeds]
    by_seed = [sum(b[i] - a[i] for i in images) / len(images) for a, b in table]
    by_image = [sum(b[i] - a[i] for a, b in table) / len(seeds) for i in images]
    mean, half = mean_and_half(by_seed)
    return Compared(mean, half, paired_difference([0.0] * len(images), by_image), len(seeds))


def write_page(
    page: Path, runs: Sequence[StudyRun], sets: Sequence[str], scales: Sequence[float],
    steps: int, recipes: Mapping[str, str],
) -> None:  # fmt: skip
    """Write the page of all runs that are tested. Raises UserError if there is none."""
    scores = read_scores(runs, sets)
    if not scores:
        raise UserError("no run is trained and tested yet; nothing to write")
    decoders = list(dict.fromkeys(decoder for _, decoder, _ in scores))
    there = [recipe for recipe in recipes if any(recipe == r for r, _, _ in scores)]
    done, total = len(scores), len(runs)
    lines = [
        "# Does the decoder matter?", "",
        "Made by `python results/decoder_study.py`, which has the encoder, samples and recipes; "
        f"{steps:,} steps, {done} of {total} trainings tested.", "",
        *costs(runs, scores),
    ]  # fmt: skip
    for recipe in there:
        lines += ["", f"## Recipe {recipe}: {recipes[recipe]}", ""]
        lines += score_rows(scores, recipe, decoders, sorted({k[0] for k in _any(scores)}), scales)
        lines += ["", *difference_rows(scores, recipe, decoders, scales)]
    lines += ["", "## Decoder or recipe?", "", *summary(scores, there, decoders, scales)]
    write_atomically(page, ("\n".join(lines) + "\n").encode())


def _any(scores: Scores) -> dict[tuple[str, float, str], float]:
    return next(iter(scores.values()))


def costs(runs: Sequence[StudyRun], scores: Scores) -> list[str]:
    """Return a table of what each decoder costs: multiplications, and the time of trainings."""
    lines = ["| decoder | parameters | multiplications a pixel, x4 | training, minutes |"]
    lines += ["|---|--:|--:|--:|"]
    minutes: dict[str, list[float]] = {}
    rows: dict[str, str] = {}
    for run in runs:
        if (run.recipe, run.decoder, run.seed) not in scores:
            continue
        checkpoint = read_checkpoint(run.weights.with_name("last.pt"))
        seconds = (checkpoint.training or {}).get("seconds", math.nan)
        minutes.setdefault(run.decoder, []).append(seconds / 60)
        if run.decoder not in rows:
            cost = decoder_cost(
                checkpoint.model.decoder, checkpoint.model.encoder.width, COST_SCALE
            )
            per_pixel = cost.per_output_pixel + cost.per_input_pixel / COST_SCALE**2
            rows[run.decoder] = f"| {run.decoder} | {cost.parameters:,} | {per_pixel:,.0f} |"
    for decoder, row in rows.items():
        found = minutes[decoder]
        lines.append(f"{row} {sum(found) / len(found):.1f} |")
    return lines


def score_rows(
    scores: Scores, recipe: str, decoders: Sequence[str], sets: Sequence[str],
    scales: Sequence[float],
) -> list[str]:  # fmt: skip
    """Return a table of the mean PSNR of each set, with 95 % intervals over seeds."""
    lines = ["Mean PSNR in dB, luma, ± half of the 95 % interval over seeds:", ""]
    heads = ["decoder", "seeds", *(f"{name} x{scale:g}" for name in sets for scale in scales)]
    lines += [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1)]
    for decoder in decoders:
        cells: list[str] = []
        seeds = 0
        for name in sets:
            for scale in scales:
                found = set_means(scores, recipe, decoder, name, scale)
                seeds = len(found)
                cells.append(_plus_minus(*mean_and_half([*found.values()])) if found else "")
        if seeds:
            lines.append(f"| {decoder} | {seeds} | {' | '.join(cells)} |")
    return lines


def difference_rows(
    scores: Scores, recipe: str, decoders: Sequence[str], scales: Sequence[float]
) -> list[str]:
    """Return a table of the differences from the baseline, over the images of all sets."""
    others = [each for each in decoders if each != BASELINE]
    count = len(others) * len(scales)
    lines = [
        f"Difference from {BASELINE}, the same seeds and the images of all sets; * significant. "
        f"These are {count} comparisons: an interval of 95 % misses zero by chance once in twenty:",
        "", f"| decoder | {' | '.join(f'x{scale:g}' for scale in scales)} |",
        "|---|" + "--:|" * len(scales),
    ]  # fmt: skip
    verdicts: dict[str, list[str]] = {}
    for decoder in others:
        found = [compared(scores, (recipe, BASELINE), (recipe, decoder), s) for s in scales]
        known = [each for each in found if each is not None]
        if not known:
            continue
        cells = ["" if each is None else _difference(each) for each in found]
        lines.append(f"| {decoder} | {' | '.join(cells)} |")
        signs = {math.copysign(1, each.mean) for each in known if each.is_significant}
        word = {0: "not distinguishable", 2: "better and worse"}.get(len(signs), "")
        word = word or ("better" if 1 in signs else "worse")
        sure = [f"x{s:g}" for s, e in zip(scales, found, strict=True) if e and e.is_significant]
        verdicts.setdefault(word, []).append(decoder + (f" ({', '.join(sure)})" if sure else ""))
    lines.append("")
    lines += [f"- {word}: {', '.join(names)}" for word, names in sorted(verdicts.items())]
    return lines


def summary(
    scores: Scores, recipes: Sequence[str], decoders: Sequence[str], scales: Sequence[float]
) -> list[str]:
    """Return what decoders and what recipes change, in dB over the images of all sets."""
    name = "decoders of a recipe, best minus median"
    lines = [f"| dB | {' | '.join(f'x{scale:g}' for scale in scales)} |"]
    lines.append("|---|" + "--:|" * len(scales))
    for recipe in recipes:
        cells: list[str] = []
        for scale in scales:
            means = [_overall(scores, recipe, each, scale) for each in decoders]
            means = [each for each in means if not math.isnan(each)]
            cells.append(f"{max(means) - median(means):.2f}")
        lines.append(f"| {name} ({recipe}) | {' | '.join(cells)} |")
    for recipe in recipes[1:]:
        cells = []
        for scale in scales:
            pairs = [
                _overall(scores, recipe, each, scale) - _overall(scores, recipes[0], each, scale)
                for each in decoders
            ]
            pairs = [each for each in pairs if not math.isnan(each)]
            cells.append(f"{median(pairs):+.2f}" if pairs else "")
        lines.append(f"| recipe {recipe} minus {recipes[0]}, median | {' | '.join(cells)} |")
    return lines


def _overall(scores: Scores, recipe: str, decoder: str, scale: float) -> float:
    values = [
        value
        for (r, d, _), found in scores.items()
        if (r, d) == (recipe, decoder)
        for (_, x, _), value in found.items()
        if x == scale
    ]
    return sum(values) / len(values) if values else math.nan


def _plus_minus(mean: float, half: float) -> str:
    return f"{mean:.2f}" if math.isinf(half) else f"{mean:.2f} ± {half:.2f}"


def _difference(found: Compared) -> str:
    text = f"{found.mean:+.2f}"
    if not math.isinf(found.half):
        text += f" ± {found.half:.2f}"
    return text + ("*" if found.is_significant else "")
