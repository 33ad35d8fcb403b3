"""Configuration of tables: rows, sets, scales and published numbers.

A cell is one row of a table on one set at one scale.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product, zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import PositiveFloat

from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.core.section import ScaleFactor, Section
from liif.evaluation.config import TestConfig
from liif.evaluation.evaluate import mean
from liif.evaluation.measurements import Measurement

CHECKPOINTS = {"last": ("last.pt", "last.safetensors", "last.pth"), "best": ("best.pt",)}


class SetConfig(Section):
    """Configuration of a set of a table."""

    config: str
    """A test configuration without its scale; a path relative to the table's file."""
    scales: tuple[ScaleFactor, ...] | None = None
    """Scales of this set; None for those of the table."""


class RowConfig(Section):
    """Configuration of a row: a trained model, or bicubic."""

    name: str
    config: str | None = None
    """Path of the training configuration in configs/ and of the run in runs/, without .yaml; None
    for bicubic. {set} and {scale} are replaced by those of the cell; cells without such a file stay
    empty."""
    checkpoint: Literal["last", "best"] = "last"
    lanczos_from: PositiveFloat | None = None
    """See `InferenceOptions`."""
    trained: tuple[ScaleFactor, ScaleFactor] | None = None
    """Lowest and highest training scale; the table marks cells outside this range."""
    published: dict[str, tuple[float | None, ...]] = pydantic.Field(default_factory=dict)
    """Published numbers by set, one for each scale; the tuple may be shorter than the scales."""
    source: str | None = None
    """Source of the published numbers, where it differs from the table's."""


class TableConfig(Section):
    """Configuration of a table of published numbers to reproduce."""

    title: str
    source: str | None = None
    """Source of the published numbers."""
    sets: Annotated[dict[str, SetConfig], pydantic.Field(min_length=1)]
    scales: tuple[ScaleFactor, ...] = ()
    rows: Annotated[tuple[RowConfig, ...], pydantic.Field(min_length=1)]

    @pydantic.model_validator(mode="after")
    def _check_published(self) -> "TableConfig":
        for row in self.rows:
            for name, numbers in row.published.items():
                if name not in self.sets:
                    raise ValueError(f"row {row.name!r}: published: there is no set {name!r}")
                if len(numbers) > len(self.sets[name].scales or self.scales):
                    raise ValueError(f"row {row.name!r}: more numbers for {name!r} than scales")
        return self


@dataclass
class TableCell:
    """One row on one set at one scale, with its measurements."""

    row: RowConfig
    test: TestConfig
    config: str | None
    """Name of the training configuration; None for bicubic."""
    published: float | None
    checkpoint: Path | None = None
    missing: str | None = None
    """Reason why the cell has no number."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Protocol, options, checkpoint and data, for the report."""
    measurements: list[Measurement] = field(default_factory=list)

    @property
    def scale(self) -> float:
        return self.test.scale[0]

    @property
    def title(self) -> str:
        return f"{self.row.name}, {self.test.set} x{self.scale:g}"

    @property
    def is_trained(self) -> bool:
        """Whether the scale lies in the row's range of training scales."""
        low, high = self.row.trained or (0, math.inf)
        return low <= self.scale <= high

    def mean(self, metric: str) -> float | None:
        """Return the mean over the images; None if the metric was not measured, NaN if an image
        has no finite value."""
        values = [measurement.get(metric) for measurement in self.measurements]
        if all(value is None for value in values):
            return None
        return mean([math.nan if value is None else value for value in values])


def table_cells(
    table: TableConfig,
    file: Path,
    *,
    sets: Sequence[str],
    scales: Sequence[float],
    rows: str,
    overrides: Sequence[str],
) -> list[TableCell]:
    """Return the cells of the selected sets, scales and rows, row by row.

    An empty selection selects everything. `overrides` are passed to `load_config` for the
    configurations of the sets. Raises UserError if the table has no such set, scale or row.
    """
    scales_by_set = {name: each.scales or table.scales for name, each in table.sets.items()}
    every = sorted(set(chain(*scales_by_set.values())))
    _check_known("--sets", sets, table.sets)
    _check_known("--scales", [f"{s:g}" for s in scales], [f"{s:g}" for s in every])
    parts = [part.strip() for part in rows.lower().split(",")]
    names = [f"{row.name}\n{row.config or 'bicubic'}".lower() for row in table.rows]
    pairs = zip(table.rows, names, strict=True)
    selected = [row for row, name in pairs if any(part in name for part in parts)]
    if not selected:
        known = "; ".join(row.name for row in table.rows)
        raise UserError(f"--rows {rows}: not in this table, which has {known}")
    cells: list[TableCell] = []
    for row, (name, each) in product(selected, table.sets.items()):
        for scale, number in zip_longest(scales_by_set[name], row.published.get(name, ())):
            if (sets and name not in sets) or (scales and scale not in scales):
                continue
            config = row.config and row.config.replace("{set}", name)
            config = config and config.replace("{scale}", f"{scale:g}")
            if config and not (file.parent.parent / f"{config}.yaml").exists():
                continue  # a model for a single scale has no cell at another scale
            overridden = [f"scale={scale}", *overrides]
            test = load_config(TestConfig, file.parent / each.config, overridden)
            cells.append(TableCell(row, test, config, number))
    return cells


def _check_known(option: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"{option} {name}: not in this table, which has {', '.join(known)}")


def find_checkpoints(cells: Sequence[TableCell], runs: Path, given: Mapping[str, Path]) -> None:
    """Set the checkpoint of every cell, or the command that trains it as `missing`.

    `given` maps names of training configurations to checkpoints; other checkpoints are looked for
    in the folder `runs`. Raises UserError if no row has a given name.
    """
    names = dict.fromkeys(cell.config for cell in cells if cell.config)
    _check_known("--checkpoint", list(given), names)
    for cell in cells:
        if cell.config is None:
            continue
        files = [runs / cell.config / name for name in CHECKPOINTS[cell.row.checkpoint]]
        cell.checkpoint = given.get(cell.config) or next((f for f in files if f.is_file()), None)
        if cell.checkpoint is None:
            cell.missing = f"python scripts/train.py --config configs/{cell.config}.yaml"
