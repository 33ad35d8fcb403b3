"""Read scores and training curves back from the files of tests, tables and runs."""

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pydantic
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from liif.core.errors import UserError
from liif.data.recipes import RECIPE_NAMES

Curve = list[tuple[int, float]]
"""(step, value), in the order of the steps."""

log = logging.getLogger("liif")


class ScorePoint(NamedTuple):
    """Score of one method on one set at one scale."""

    set: str
    method: str
    scale: tuple[float, float]
    """Vertical and horizontal."""
    value: float
    """NaN where only a published value exists."""
    published: float | None = None
    trained: bool = True
    """Whether the model was trained for this scale; True if unknown."""
    deviation: float | None = None
    """Standard deviation over the trainings, if there are several."""


class RunCurves(NamedTuple):
    """Curves of a training run."""

    label: str
    loss: Curve
    learning_rate: Curve
    psnr: dict[str, Curve]
    """PSNR in dB, by scale ("x2")."""
    bicubic: dict[str, float]
    """PSNR of bicubic in dB, by scale."""


_Number = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    AfterValidator(lambda value: value if math.isfinite(value) else math.nan),
]
"""NaN where the file has null, NaN or an infinity."""
_Axes = Annotated[
    list[Annotated[float, pydantic.Field(gt=0, le=1000)]],
    pydantic.Field(min_length=2, max_length=2),
    BeforeValidator(lambda scale: scale if isinstance(scale, list) else [scale, scale]),
]
"""Vertical and horizontal scale."""


class _Content(BaseModel):
    """Content of a file; unknown keys are ignored."""

    model_config = ConfigDict(strict=True)


class _Scores(_Content):
    """Scores of one method on one set at one scale."""

    set: str
    scale: _Axes
    psnr_rgb: _Number = math.nan
    psnr_y: _Number = math.nan

    def point(self, method: str, value: float) -> ScorePoint:
        return ScorePoint(self.set, method, (self.scale[0], self.scale[1]), value)


class _TestResult(_Scores):
    """Content of a file written by `liif test --output`."""

    protocol: str
    psnr: _Number
    ssim: _Number
    bicubic: _Number
    checkpoint: str
    options: dict[str, Any] = {}
    lr: str = ""
    degrade: dict[str, Any] | None = None
    images: list[dict[str, Any]] = []

    @pydantic.model_validator(mode="after")
    def _names_the_degradation(self) -> "_TestResult":
        """Keep scores on degraded images apart from those on usual ones of the same set."""
        is_usual = self.degrade is None or self.lr == "pillow-bicubic"
        if not is_usual or self.lr in RECIPE_NAMES:
            self.set += f" ({self.lr})"
        return self

    def points(self, metric: str, name: str) -> list[ScorePoint]:
        options = ", ".join(k if v is True else f"{k} {v}" for k, v in self.options.items())
        name += f" ({options})" if options else ""
        points = [self.point(name, getattr(self, metric))]
        if metric in ("psnr", "psnr_y" if self.protocol == "benchmark" else "psnr_rgb"):
            points.append(self.point("bicubic", self.bicubic))
        return points


class _TableCell(_Scores):
    """One cell in the file of a table."""

    row: str
    psnr: _Number = math.nan
    ssim: _Number = math.nan
    published: _Number = math.nan
    psnr_std: _Number = math.nan
    trained: bool = True
    measured: int | None = None
    images: int | None = None

    def points(self, metric: str) -> list[ScorePoint]:
        # A mean over a part of the set is not comparable.
        value = getattr(self, metric) if self.measured == self.images else math.nan
        known = (self.published, self.psnr_std) if metric == "psnr" else (math.nan, math.nan)
        published, deviation = (None if math.isnan(each) else each for each in known)
        point = self.point(self.row, value)._replace(trained=self.trained)
        return [point._replace(published=published, deviation=deviation)]


class _TableResult(_Content):
    """Content of a file written by `liif tables`."""

    cells: list[_TableCell]


class _MetricsLine(_Content):
    """One line of metrics.jsonl."""

    kind: str
    step: int
    loss: _Number = math.nan
    learning_rate: _Number = math.nan
    psnr: dict[str, _Number] = {}
    bicubic: dict[str, _Number] = {}


def read_points(files: Iterable[Path], metric: str) -> list[ScorePoint]:
    """Return the scores in files of `liif test` and `liif tables`, without duplicates.

    `metric` is psnr, psnr_rgb, psnr_y or ssim. Raises UserError if a file is not a result file, if
    two scores contradict each other or have different protocols, or if there is no score.
    """
    contents = [(file, content) for file in files for content in _read_results(file)]
    tested = [content for _, content in contents if isinstance(content, _TestResult)]
    names = short_names((Path(result.checkpoint) for result in tested), model_name)
    found: dict[tuple[str, str, tuple[float, float]], ScorePoint] = {}
    protocols: dict[str, str] = {}
    for file, content in contents:
        if isinstance(content, _TableResult):
            points = [point for cell in content.cells for point in cell.points(metric)]
        else:
            points = content.points(metric, names[Path(content.checkpoint)])
            protocol = protocols.setdefault(content.set, content.protocol)
            if protocol != content.protocol:
                raise UserError(
                    f"{file}: {content.set} has protocol {content.protocol}, but {protocol} in "
                    "another file; draw them separately"
                )
        for point in points:
            label = f"{metric} of {point.method} on {point.set} x{point.scale[0]:g}"
            if math.isnan(point.value) and point.published is None:
                log.warning("%s: no %s over all images; it is left out", file, label)
                continue
            known = found.setdefault((point.set, point.method, point.scale), point)
            if math.isnan(known.value):
                published = point.published or known.published
                found[point.set, point.method, point.scale] = point._replace(published=published)
            elif abs(known.value - point.value) > 1e-3:
                raise UserError(
                    f"{file}: {label} is {point.value:.4f}, but {known.value:.4f} in another file; "
                    "draw one of them"
                )
    if not found:
        listed = ", ".join(dict.fromkeys(str(file) for file, _ in contents))
        raise UserError(f"{listed}: there is no {metric} to draw")
    return list(found.values())


def _read_results(file: Path) -> list[_TestResult] | list[_TableResult]:
    """Return the content of a file: that of a table, or one or several of `liif test`."""
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{file}: not a JSON file, or damaged") from None
    try:
        if isinstance(content, dict) and "cells" in content:
            return [_TableResult.model_validate(content)]
        several = content if isinstance(content, list) and content else [content]
        return [_TestResult.model_validate(each) for each in several]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) + ": " if first["loc"] else ""
        raise UserError(
            f"{file}: not a result of `liif test --output` or `liif tables`: {where}{first['msg']}"
        ) from None


class ImagePairs(NamedTuple):
    """Scores of two models on the same images of a set at a scale."""

    title: str
    names: tuple[str, ...]
    first: tuple[float, ...]
    second: tuple[float, ...]


def read_image_pairs(files: tuple[Path, Path], metric: str) -> tuple[list[ImagePairs], list[str]]:
    """Return the scores of the images that two files of `liif test` have in common, by set and
    scale, and the names of the two models. Raises UserError if there are none, or the protocols
    differ."""
    contents: list[dict[tuple[str, tuple[float, ...]], _TestResult]] = []
    for file in files:
        results = [each for each in _read_results(file) if isinstance(each, _TestResult)]
        contents.append({(each.set, tuple(each.scale)): each for each in results})
    first, second = contents
    found: list[ImagePairs] = []
    for key in [key for key in first if key in second]:
        if first[key].protocol != second[key].protocol:
            raise UserError(f"{files[1]}: {key[0]} has another protocol than in {files[0]}")
        a, b = ({each["name"]: each.get(metric) for each in c[key].images} for c in contents)
        names = [n for n in a if isinstance(a[n], float) and isinstance(b.get(n), float)]
        if names:
            scale = ",".join(f"{s:g}" for s in dict.fromkeys(key[1]))
            values = (tuple(float(each[n] or 0) for n in names) for each in (a, b))
            found.append(ImagePairs(f"{key[0]} x{scale}", tuple(names), *values))
    if not found:
        raise UserError(
            f"{files[0]} and {files[1]}: no images of one set and scale have {metric} in both; "
            "they are written by liif test -o"
        )
    paths = [Path(next(iter(each.values())).checkpoint) for each in contents]
    short = short_names(paths, model_name)
    return found, [short[path] for path in paths]


def differences(points: Sequence[ScorePoint], baseline: str) -> list[ScorePoint]:
    """Return the differences from a method, at the sets and scales where it has a score."""
    base = {(p.set, p.scale): p.value for p in points if p.method == baseline}
    result: list[ScorePoint] = []
    for p in points:
        value = base.get((p.set, p.scale), math.nan)
        if p.method != baseline and not math.isnan(value):
            published = None if p.published is None else p.published - value
            result.append(p._replace(value=p.value - value, published=published))
    return result


def read_run(folder: Path, label: str) -> RunCurves:
    """Return the curves in a run's metrics.jsonl; a last line that was cut off is ignored. Raises
    UserError if the file is missing, damaged or without a value to draw."""
    file = folder / "metrics.jsonl"
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{file}: cannot be read: {reason}; name the folder of a run") from None
    run = RunCurves(label, [], [], {}, {})
    for number, line in enumerate(lines, start=1):
        try:
            record = _MetricsLine.model_validate_json(line)
        except ValidationError:
            if number == len(lines):
                break
            raise UserError(f"{file}: line {number} is not a line of a run's log") from None
        values = [(run.loss, record.loss), (run.learning_rate, record.learning_rate)]
        values += [(run.psnr.setdefault(scale, []), psnr) for scale, psnr in record.psnr.items()]
        for curve, value in values:
            if not math.isnan(value):
                curve.append((record.step, value))
        run.bicubic.update((k, psnr) for k, psnr in record.bicubic.items() if not math.isnan(psnr))
    if not any((run.loss, run.learning_rate, *run.psnr.values())):
        raise UserError(f"{file}: there is nothing to draw yet")
    return run


def short_names(paths: Iterable[Path], name: Callable[[Path], str]) -> dict[Path, str]:
    """Return a unique name for each path: its short name, or the whole path if that is taken."""
    short = {path: name(path) for path in paths}
    uses = Counter(short.values())
    return {path: text if uses[text] == 1 else str(path) for path, text in short.items()}


def model_name(file: Path) -> str:
    """Return the name of a checkpoint in figures: that of its run's folder for files such as
    last.pt, best.pt and step-500.pt, otherwise that of the file."""
    run = re.fullmatch(r"last|best|step-\d+", file.stem) and file.parent.name
    return run or file.stem
