"""Scores and training curves, read back from the files that tests, tables and runs leave."""

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from liif.core.errors import UserError

METRICS = {
    "psnr": "PSNR (dB)",
    "psnr_rgb": "PSNR, RGB (dB)",
    "psnr_y": "PSNR, luma (dB)",
    "ssim": "SSIM",
}
"""What can be read, and how it is called on an axis; psnr is what the set's protocol takes."""

Curve = list[tuple[int, float]]
"""(step, value) in the order of the steps."""

log = logging.getLogger("liif")


class Point(NamedTuple):
    """One score of one method."""

    set: str
    line: str
    """The method's name."""
    scale: tuple[float, float]
    """Vertical and horizontal."""
    value: float
    """NaN where there is only a published one."""
    published: float | None = None
    trained: bool = True
    """Whether the model was trained for this scale, as far as is known."""


class Run(NamedTuple):
    """What a training run recorded."""

    label: str
    loss: Curve
    learning_rate: Curve
    psnr: dict[str, Curve]
    """In dB, by scale ("x2")."""
    bicubic: dict[str, float]
    """The reference in dB, by scale."""


def _pair(scale: object) -> object:
    return scale if isinstance(scale, list) else [scale, scale]


Scale = Annotated[
    list[Annotated[float, Field(gt=0, le=1000)]],
    Field(min_length=2, max_length=2),
    BeforeValidator(_pair),
]
Number = float | None
"""JSON has no infinity and no NaN: null."""


class _Content(BaseModel):
    """Part of a file that we wrote; keys of no interest here are passed over."""

    model_config = ConfigDict(strict=True)


class _Tested(_Content):
    """A file of `liif test --out`."""

    set: str
    scale: Scale
    protocol: str
    psnr: Number
    psnr_rgb: Number = None
    psnr_y: Number = None
    ssim: Number
    bicubic: Number
    checkpoint: str
    options: dict[str, Any] = {}

    def points(self, metric: str, name: str) -> list[Point]:
        extra = [k if v is True else f"{k} {v}" for k, v in self.options.items()]
        name += f" ({', '.join(extra)})" if extra else ""
        scores = {name: getattr(self, metric)}
        if metric in ("psnr", "psnr_y" if self.protocol == "benchmark" else "psnr_rgb"):
            scores["bicubic"] = self.bicubic
        scale = (self.scale[0], self.scale[1])
        return [Point(self.set, line, scale, _number(value)) for line, value in scores.items()]


class _Cell(_Content):
    """One number of a table."""

    set: str
    scale: Scale
    row: str
    psnr: Number = None
    psnr_rgb: Number = None
    psnr_y: Number = None
    ssim: Number = None
    published: Number = None
    trained: bool = True
    measured: int | None = None
    images: int | None = None

    def point(self, metric: str) -> Point:
        scale = (self.scale[0], self.scale[1])
        # The mean of a part of a set cannot be compared.
        value = _number(getattr(self, metric)) if self.measured == self.images else math.nan
        has_published = metric == "psnr" and not math.isnan(_number(self.published))
        published = self.published if has_published else None
        return Point(self.set, self.row, scale, value, published, self.trained)


class _Table(_Content):
    """A file of `liif tables`."""

    cells: list[_Cell]


class _Record(_Content):
    """A line of metrics.jsonl."""

    kind: str
    step: int
    loss: Number = None
    learning_rate: Number = None
    psnr: dict[str, Number] = {}
    bicubic: dict[str, Number] = {}


def read_points(files: Iterable[Path], metric: str) -> list[Point]:
    """The scores in result files of both kinds, each once; `metric` is one of METRICS.

    Raises:
        UserError: a file that is none of ours; scores that contradict or cannot be compared;
            nothing at all.
    """
    contents = {file: _read_result(file) for file in files}
    tested = [content for content in contents.values() if isinstance(content, _Tested)]
    names = shortest((Path(result.checkpoint) for result in tested), model_name)
    found: dict[tuple[str, str, tuple[float, float]], Point] = {}
    protocols: dict[str, str] = {}
    for file, content in contents.items():
        if isinstance(content, _Table):
            points = [cell.point(metric) for cell in content.cells]
        else:
            points = content.points(metric, names[Path(content.checkpoint)])
            how = protocols.setdefault(content.set, content.protocol)
            if how != content.protocol:
                raise UserError(
                    f"{file}: {content.set} by protocol {content.protocol}, but by {how} in "
                    "another file; draw them apart"
                )
        for point in points:
            what = f"{metric} of {point.line} on {point.set} x{point.scale[0]:g}"
            if math.isnan(point.value) and point.published is None:
                log.warning("%s: left out: no %s, or not of all its images", file, what)
                continue
            known = found.setdefault((point.set, point.line, point.scale), point)
            if math.isnan(known.value):
                published = point.published or known.published
                found[point.set, point.line, point.scale] = point._replace(published=published)
            elif abs(known.value - point.value) > 1e-3:
                raise UserError(
                    f"{file}: {what} is {point.value:.4f}, but {known.value:.4f} in another place; "
                    "give one of them"
                )
    if not found:
        raise UserError(f"{', '.join(map(str, contents))}: holds no {metric} to draw")
    return list(found.values())


def _read_result(file: Path) -> _Tested | _Table:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{file}: damaged, or not a JSON file") from None
    kind = _Table if isinstance(content, dict) and "cells" in content else _Tested
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in [".".join(map(str, first["loc"]))] if part)
        raise UserError(
            f"{file}: not a result of `liif test --out` or `liif tables`: {where}{first['msg']}"
        ) from None


def over(points: Iterable[Point], name: str) -> list[Point]:
    """Differences to one line, at the sets and scales where it has a score."""
    points = list(points)
    base = {(p.set, p.scale): p.value for p in points if p.line == name and p.value == p.value}
    differences: list[Point] = []
    for p in points:
        value = base.get((p.set, p.scale))
        if value is not None and p.line != name:
            published = None if p.published is None else p.published - value
            differences.append(p._replace(value=p.value - value, published=published))
    return differences


def read_run(folder: Path, label: str) -> Run:
    """What a run recorded; a last line that was cut off while it was written is passed over.

    Raises:
        UserError: no such file; not of a run; nothing in it to draw.
    """
    file = folder / "metrics.jsonl"
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{file}: cannot be read: {reason}; give the folder of a run") from None
    run = Run(label, [], [], {}, {})
    for number, line in enumerate(lines, start=1):
        try:
            record = _Record.model_validate_json(line)
        except ValidationError:
            if number == len(lines):
                break
            raise UserError(f"{file}: line {number} is no record of a run") from None
        _add(run.loss, record.step, record.loss)
        _add(run.learning_rate, record.step, record.learning_rate)
        for scale, value in record.psnr.items():
            _add(run.psnr.setdefault(scale, []), record.step, value)
        for scale, value in record.bicubic.items():
            if value is not None and math.isfinite(value):
                run.bicubic[scale] = value
    if not any((run.loss, run.learning_rate, *run.psnr.values())):
        raise UserError(f"{file}: holds nothing to draw yet")
    return run


def _add(curve: Curve, step: int, value: Number) -> None:
    if value is not None and math.isfinite(value):
        curve.append((step, value))


def _number(value: Number) -> float:
    return value if value is not None and math.isfinite(value) else math.nan


def shortest(paths: Iterable[Path], name: Callable[[Path], str]) -> dict[Path, str]:
    """A name for every path: the short one, or all of the path where others have the same."""
    short = {path: name(path) for path in paths}
    uses = Counter(short.values())
    return {path: text if uses[text] == 1 else str(path) for path, text in short.items()}


def model_name(file: Path) -> str:
    """Of a checkpoint: its run's folder, or its own name where that says more than "last"."""
    of_run = re.fullmatch(r"last|best|step-\d+", file.stem) and file.parent.name
    return of_run or file.stem
