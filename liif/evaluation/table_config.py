"""What tables there are: rows, sets, scales, published numbers, and the checkpoints of the rows.

A cell is a row of a table on one set at one scale.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, model_validator

from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.core.section import ScaleFactor, Section
from liif.evaluation.config import TestConfig
from liif.evaluation.measurements import Record

CHECKPOINTS = {"last": ("last.pt", "last.safetensors", "last.pth"), "best": ("best.pt",)}
Scales = tuple[ScaleFactor, ...]


class SetConfig(Section):
    """A set of a table."""

    config: str
    """A test's configuration without its scale, relative to the table's file."""
    scales: Scales | None = None
    """Instead of the table's."""


class RowConfig(Section):
    """A system: a trained model, or bicubic."""

    name: str
    config: str | None = None
    """The training run's configuration and name, without .yaml; {set} and {scale} stand for those
    of the cell, and cells without such a configuration stay empty. None for bicubic."""
    checkpoint: Literal["last", "best"] = "last"
    lanczos_from: PositiveFloat | None = None
    """As in `InferenceOptions`."""
    trained: tuple[ScaleFactor, ScaleFactor] | None = None
    """Range of the scales that it is trained for; cells outside are marked."""
    published: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    """For each set, a number for each scale, as far as there are any."""
    source: str | None = None
    """Where the numbers stand, if not where the table's do."""


class TableConfig(Section):
    """A table of published numbers, to be reproduced."""

    title: str
    source: str | None = None
    """Where the published numbers stand."""
    sets: Annotated[dict[str, SetConfig], Field(min_length=1)]
    scales: Scales = ()
    rows: Annotated[tuple[RowConfig, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_a_place_for_every_number(self) -> "TableConfig":
        for row in self.rows:
            for name, numbers in row.published.items():
                if name not in self.sets:
                    raise ValueError(f"row {row.name!r}: published: there is no set {name!r}")
                if len(numbers) > len(self.sets[name].scales or self.scales):
                    raise ValueError(f"row {row.name!r}: more numbers for {name!r} than scales")
        return self


@dataclass
class Cell:
    """One row on one set at one scale, and what became of it."""

    row: RowConfig
    test: TestConfig
    config: str | None
    """The training configuration's name; None for bicubic."""
    published: float | None
    checkpoint: Path | None = None
    missing: str | None = None
    """Why there is no number."""
    how: dict[str, Any] = field(default_factory=dict)
    """Checkpoint, means and data, for the record."""
    records: list[Record] = field(default_factory=list)

    @property
    def scale(self) -> float:
        return self.test.scale[0]

    @property
    def title(self) -> str:
        return f"{self.row.name}, {self.test.set} x{self.scale:g}"

    @property
    def is_trained(self) -> bool:
        """Whether the scale lies in the range that the row states."""
        low, high = self.row.trained or (0, math.inf)
        return low <= self.scale <= high

    def mean(self, metric: str) -> float | None:
        """Over the images; None without any."""
        values = [r[metric] for r in self.records if r.get(metric) is not None]
        return sum(values) / len(values) if values else None


def table_cells(
    table: TableConfig,
    file: Path,
    *,
    sets: Sequence[str],
    scales: Sequence[float],
    rows: str,
    overrides: Sequence[str],
) -> list[Cell]:
    """All cells of the chosen sets, scales and rows (each empty for all), row by row; overrides
    are those of `load_config` for the sets' configurations.

    Raises:
        UserError: a set, scale or row that the table does not have.
    """
    _check_known("--sets", sets, table.sets)
    every = {s for each in table.sets.values() for s in each.scales or table.scales}
    _check_known("--scales", [f"{s:g}" for s in scales], [f"{s:g}" for s in sorted(every)])
    chosen = [row for row in table.rows if _is_meant(row, rows)]
    if not chosen:
        raise UserError(f"--rows {rows}: no row is called so; there are: {_names(table.rows)}")
    cells: list[Cell] = []
    for row in chosen:
        for name, each in table.sets.items():
            if sets and name not in sets:
                continue
            published = row.published.get(name, ())
            for i, scale in enumerate(each.scales or table.scales):
                if scales and scale not in scales:
                    continue
                config = row.config
                if config is not None:
                    config = config.replace("{set}", name).replace("{scale}", f"{scale:g}")
                if config and not (file.parent.parent / f"{config}.yaml").exists():
                    continue  # a network for one scale, and this is another
                test = load_config(
                    TestConfig, file.parent / each.config, [f"scale={scale}", *overrides]
                )
                number = published[i] if i < len(published) else None
                cells.append(Cell(row, test, config, number))
    return cells


def _is_meant(row: RowConfig, names: str) -> bool:
    own = (row.name.lower(), (row.config or "bicubic").lower())
    return not names or any(n.strip().lower() in text for n in names.split(",") for text in own)


def _names(rows: Sequence[RowConfig]) -> str:
    return "; ".join(row.name for row in rows)


def _check_known(option: str, asked: Sequence[str], known: Any) -> None:  # noqa: ANN401
    for name in asked:
        if name not in known:
            raise UserError(f"{option} {name}: not in this table, which has {', '.join(known)}")


def find_checkpoints(cells: Sequence[Cell], runs: Path, given: Mapping[str, Path]) -> None:
    """Give every cell the checkpoint of its run, or say which command makes it.

    Raises:
        UserError: a given name that no row has.
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
