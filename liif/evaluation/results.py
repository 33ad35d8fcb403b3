"""Read scores and training curves back from the files of tests, tables and runs."""

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from liif.core.errors import UserError

METRIC_LABELS = {
    "psnr": "PSNR (dB)",
    "psnr_rgb": "PSNR, RGB (dB)",
    "psnr_y": "PSNR, luma (dB)",
    "ssim": "SSIM",
}
"""Labels of axes, by metric; psnr is that of the channels of the set's protocol."""

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


class RunCurves(NamedTuple):
    """Curves of a training run."""

    label: str
    loss: Curve
    learning_rate: Curve
    psnr: dict[str, Curve]
    """PSNR in dB, by scale ("x2")."""
    bicubic: dict[str, float]
    """PSNR of bicubic in dB, by scale."""


def _pair(scale: object) -> object:
    return scale if isinstance(scale, list) else [scale, scale]


_JsonScale = Annotated[
    list[Annotated[float, pydantic.Field(gt=0, le=1000)]],
    pydantic.Field(min_length=2, max_length=2),
    BeforeValidator(_pair),
]
_JsonNumber = float | None
"""None stands for NaN and infinity."""


class _Content(BaseModel):
    """Content of a file; unknown keys are ignored."""

    model_config = ConfigDict(strict=True)


class _TestResult(_Content):
    """Content of a file written by `liif test --output`."""

    set: str
    scale: _JsonScale
    protocol: str
    psnr: _JsonNumber
    psnr_rgb: _JsonNumber = None
    psnr_y: _JsonNumber = None
    ssim: _JsonNumber
    bicubic: _JsonNumber
    checkpoint: str
    options: dict[str, Any] = {}

    def points(self, metric: str, name: str) -> list[ScorePoint]:
        extra = [k if v is True else f"{k} {v}" for k, v in self.options.items()]
        name += f" ({', '.join(extra)})" if extra else ""
        scores = {name: getattr(self, metric)}
        if metric in ("psnr", "psnr_y" if self.protocol == "benchmark" else "psnr_rgb"):
            scores["bicubic"] = self.bicubic
        scale = (self.scale[0], self.scale[1])
        return [ScorePoint(self.set, key, scale, _or_nan(value)) for key, value in scores.items()]


class _TableCell(_Content):
    """One cell in the file of a table."""

    set: str
    scale: _JsonScale
    row: str
    psnr: _JsonNumber = None
    psnr_rgb: _JsonNumber = None
    psnr_y: _JsonNumber = None
    ssim: _JsonNumber = None
    published: _JsonNumber = None
    trained: bool = True
    measured: int | None = None
    images: int | None = None

    def point(self, metric: str) -> ScorePoint:
        scale = (self.scale[0], self.scale[1])
        # A mean over a part of the set is not comparable.
        value = _or_nan(getattr(self, metric)) if self.measured == self.images else math.nan
        has_published = metric == "psnr" and not math.isnan(_or_nan(self.published))
        published = self.published if has_published else None
        return ScorePoint(self.set, self.row, scale, value, published, self.trained)


class _TableResult(_Content):
    """Content of a file written by `liif tables`."""

    cells: list[_TableCell]


class _MetricsLine(_Content):
    """One line of metrics.jsonl."""

    kind: str
    step: int
    loss: _JsonNumber = None
    learning_rate: _JsonNumber = None
    psnr: dict[str, _JsonNumber] = {}
    bicubic: dict[str, _JsonNumber] = {}


def read_points(files: Iterable[Path], metric: str) -> list[ScorePoint]:
    """Return the scores in files of `liif test` and `liif tables`, without duplicates.

    `metric` is one of METRIC_LABELS.

    Raises:
        UserError: a file is not a result file; two scores contradict each other or have different
            protocols; there is no score.
    """
    contents = {file: _read_result(file) for file in files}
    tested = [content for content in contents.values() if isinstance(content, _TestResult)]
    names = short_names((Path(result.checkpoint) for result in tested), model_name)
    found: dict[tuple[str, str, tuple[float, float]], ScorePoint] = {}
    protocols: dict[str, str] = {}
    for file, content in contents.items():
        if isinstance(content, _TableResult):
            points = [cell.point(metric) for cell in content.cells]
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
        raise UserError(f"{', '.join(map(str, contents))}: there is no {metric} to draw")
    return list(found.values())


def _read_result(file: Path) -> _TestResult | _TableResult:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{file}: not a JSON file, or damaged") from None
    kind = _TableResult if isinstance(content, dict) and "cells" in content else _TestResult
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in [".".join(map(str, first["loc"]))] if part)
        raise UserError(
            f"{file}: not a result of `liif test --output` or `liif tables`: {where}{first['msg']}"
        ) from None


def differences(points: Iterable[ScorePoint], baseline: str) -> list[ScorePoint]:
    """Return the differences from a method, at the sets and scales where it has a score."""
    points = list(points)
    base = {
        (p.set, p.scale): p.value for p in points if p.method == baseline and p.value == p.value
    }
    result: list[ScorePoint] = []
    for p in points:
        value = base.get((p.set, p.scale))
        if value is not None and p.method != baseline:
            published = None if p.published is None else p.published - value
            result.append(p._replace(value=p.value - value, published=published))
    return result


def read_run(folder: Path, label: str) -> RunCurves:
    """Return the curves in a run's metrics.jsonl; a last line that was cut off is ignored.

    Raises:
        UserError: the file is missing, damaged or without a value to draw.
    """
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
        _add(run.loss, record.step, record.loss)
        _add(run.learning_rate, record.step, record.learning_rate)
        for scale, value in record.psnr.items():
            _add(run.psnr.setdefault(scale, []), record.step, value)
        for scale, value in record.bicubic.items():
            if value is not None and math.isfinite(value):
                run.bicubic[scale] = value
    if not any((run.loss, run.learning_rate, *run.psnr.values())):
        raise UserError(f"{file}: there is nothing to draw yet")
    return run


def _add(curve: Curve, step: int, value: _JsonNumber) -> None:
    if value is not None and math.isfinite(value):
        curve.append((step, value))


def _or_nan(value: _JsonNumber) -> float:
    return value if value is not None and math.isfinite(value) else math.nan


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
