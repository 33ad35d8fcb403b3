"""Configuration of tables: rows, sets, scales and published numbers.

A cell is one row of a table on one set at one scale, and with one seed if the row has seeds.
"""

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product, zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import NonNegativeInt, PositiveFloat

from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.core.section import ScaleFactor, Section
from liif.core.sizes import Scale, scale_text, scale_value
from liif.evaluation.config import ScalePair, TestConfig
from liif.evaluation.evaluate import mean
from liif.evaluation.measurements import Measurement

CHECKPOINTS = {"last": ("last.pt", "last.safetensors", "last.pth"), "best": ("best.pt",)}

Column = Literal["parameters", "time", "seeds"]
"""A column about a row's model: its parameters, the mean time of a training, their number."""


class SetConfig(Section):
    """Configuration of a set of a table."""

    config: str
    """A test configuration without its scale; a path relative to the table's file."""
    scales: tuple[ScalePair, ...] | None = None
    """Scales of this set, each a number or [vertical, horizontal]; None for those of the table."""


class RowConfig(Section):
    """Configuration of a row: a trained model, or bicubic."""

    name: str
    config: str | None = None
    """Path of the training configuration in configs/ and of the run in runs/, without .yaml; None
    for bicubic. {set} and {scale} are replaced by those of the cell; cells without such a file stay
    empty, but a row needs one file at least."""
    seeds: tuple[NonNegativeInt, ...] | None = None
    """Seeds of the row's trainings; None for those of the table."""
    checkpoint: Literal["last", "best"] = "last"
    lanczos_from: PositiveFloat | None = None
    """See `InferenceOptions`."""
    clip_cell: ScaleFactor | None = None
    """See `InferenceOptions`; None for --clip-cell."""
    rotation_ensemble: bool = False
    """See `InferenceOptions`; false for --self-ensemble and --rotation-ensemble."""
    trained: tuple[ScaleFactor, ScaleFactor] | None = None
    """Lowest and highest training scale; the table marks cells outside this range."""
    published: dict[str, tuple[float | None, ...]] = pydantic.Field(default_factory=dict)
    """Published numbers by set, one for each scale; the tuple may be shorter than the scales."""
    source: str | None = None
    """Source of the published numbers, where it differs from the table's."""
    note: str | None = None
    """In what the protocol or the recipe of the published numbers differs from that of the other
    rows; shown below the table."""


class TableConfig(Section):
    """Configuration of a table: models measured on sets, and published numbers beside them."""

    title: str
    source: str | None = None
    """Source of the published numbers."""
    columns: tuple[Column, ...] = ()
    """Columns in front of the scores in Markdown and LaTeX; CSV and JSON always have all three."""
    seeds: tuple[NonNegativeInt, ...] = ()
    """Seeds of each row's trainings, whose scores are shown as mean ± standard deviation. The run
    of configuration C with seed 1 is runs/C-seed1. Empty for a single training, runs/C."""
    sets: Annotated[dict[str, SetConfig], pydantic.Field(min_length=1)]
    """Test sets by the names that `published` and --sets use."""
    scales: tuple[ScalePair, ...] = ()
    """Scales of all sets that do not state their own."""
    rows: Annotated[tuple[RowConfig, ...], pydantic.Field(min_length=1)]
    """Rows in the order of the table, each with a name of its own."""

    @pydantic.model_validator(mode="after")
    def _check_published(self) -> "TableConfig":
        for row in self.rows:
            for name, numbers in row.published.items():
                if name not in self.sets:
                    raise ValueError(f"row {row.name!r}: published: there is no set {name!r}")
                if len(numbers) > len(self.sets[name].scales or self.scales):
                    raise ValueError(f"row {row.name!r}: more numbers for {name!r} than scales")
        names = [row.name for row in self.rows]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"rows: two are named {name!r}")
        for seeds in (self.seeds, *(row.seeds or () for row in self.rows)):
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"seeds: {list(seeds)} has a seed twice")
        return self


@dataclass
class TableCell:
    """One row on one set at one scale, with one seed, and its measurements."""

    row: RowConfig
    test: TestConfig
    config: str | None
    """Name of the training configuration; None for bicubic."""
    published: float | None
    seed: int | None = None
    """Seed of the training; None if the row has no seeds."""
    checkpoint: Path | None = None
    missing: str | None = None
    """Reason why the cell has no number."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Protocol, options, checkpoint and data, for the report."""
    measurements: list[Measurement] = field(default_factory=list)

    @property
    def scale(self) -> Scale:
        return self.test.scale

    @property
    def run(self) -> str | None:
        """Name of the run; None for bicubic."""
        has_seed = self.config is not None and self.seed is not None
        return f"{self.config}-seed{self.seed}" if has_seed else self.config

    @property
    def title(self) -> str:
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.row.name}{seed}, {self.test.set} x{scale_text(self.scale)}"

    @property
    def is_trained(self) -> bool:
        """Whether the scale of each axis lies in the row's range of training scales."""
        low, high = self.row.trained or (0, math.inf)
        return low <= min(self.scale) and max(self.scale) <= high

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
    scales: Sequence[Scale],
    rows: str,
    overrides: Sequence[str],
) -> list[TableCell]:
    """Return the cells of the selected sets, scales and rows: row by row, and seed by seed for each
    set and scale.

    An empty selection selects everything. `overrides` are passed to `load_config` for the
    configurations of the sets. Raises UserError if the table has no such set, scale or row, if a
    row, selected or not, has no training configuration, or if two sets have the same `set`.
    """
    _check_configs(table, file)
    scales_by_set = {name: each.scales or table.scales for name, each in table.sets.items()}
    every = sorted(set(chain(*scales_by_set.values())))
    _check_known("--sets", sets, table.sets)
    _check_known("--scales", list(map(scale_text, scales)), list(map(scale_text, every)))
    parts = [part.strip() for part in rows.lower().split(",")]
    names = [f"{row.name}\n{row.config or 'bicubic'}".lower() for row in table.rows]
    pairs = zip(table.rows, names, strict=True)
    selected = [row for row, name in pairs if any(part in name for part in parts)]
    if not selected:
        known = "; ".join(row.name for row in table.rows)
        raise UserError(f"--rows {rows}: not in this table, which has {known}")
    cells: list[TableCell] = []
    owners: dict[str, str] = {}
    for row, (name, each) in product(selected, table.sets.items()):
        for scale, number in zip_longest(scales_by_set[name], row.published.get(name, ())):
            if (sets and name not in sets) or (scales and scale not in scales):
                continue
            config = _config_of(row, name, scale)
            if config and not _config_file(file, config).exists():
                continue  # a model for a single scale has no cell at another scale
            overridden = [f"scale={scale_value(scale)}", *overrides]
            test = load_config(TestConfig, file.parent / each.config, overridden)
            if (other := owners.setdefault(test.set, name)) != name:
                text = f"sets {other!r} and {name!r} have the same name, set: {test.set}"
                raise UserError(f"{file}: {text}; give each configuration its own")
            seeds = table.seeds if row.seeds is None else row.seeds
            for seed in (config and seeds) or (None,):
                cells.append(TableCell(row, test, config, number, seed))
    return cells


def _config_of(row: RowConfig, set_name: str, scale: Scale) -> str | None:
    """Return the name of a row's training configuration for a set and a scale."""
    config = row.config and row.config.replace("{set}", set_name)
    return config and config.replace("{scale}", scale_text(scale))


def _config_file(table_file: Path, config: str) -> Path:
    return table_file.parent.parent / f"{config}.yaml"


def _check_configs(table: TableConfig, file: Path) -> None:
    """Raise UserError if a row has no training configuration, or a published number where it has
    none: both would be left out of the table."""
    for row in table.rows:
        missing: list[tuple[str, float | None]] = []
        cells = 0
        for name, each in table.sets.items():
            numbers = row.published.get(name, ())
            for scale, number in zip_longest(each.scales or table.scales, numbers):
                cells += 1
                config = _config_of(row, name, scale)
                if config and not _config_file(file, config).exists():
                    missing.append((config, number))
        lost = [config for config, number in missing if number is not None]
        if len(missing) == cells:
            lost = [config for config, _ in missing]
        if lost:
            needed = _config_file(file, lost[0])
            known = sorted(path.stem for path in needed.parent.glob("*.yaml"))
            close = difflib.get_close_matches(needed.stem, known, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else "correct the name or add it"
            text = f"{file}: row {row.name!r}: config: {needed}: no such configuration file; {hint}"
            raise UserError(text)


def _check_known(option: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"{option} {name}: not in this table, which has {', '.join(known)}")


def find_checkpoints(cells: Sequence[TableCell], runs: Path, given: Mapping[str, Path]) -> None:
    """Set the checkpoint of every cell, or the command that trains it as `missing`.

    `given` maps names of runs, which are those of the training configurations in rows without
    seeds, to checkpoints; other checkpoints are looked for in the folder `runs`. Raises UserError
    if no row has a given name.
    """
    names = dict.fromkeys(cell.run for cell in cells if cell.run)
    _check_known("--checkpoint", list(given), names)
    for cell in cells:
        if cell.run is None:
            continue
        files = [runs / cell.run / name for name in CHECKPOINTS[cell.row.checkpoint]]
        cell.checkpoint = given.get(cell.run) or next((f for f in files if f.is_file()), None)
        if cell.checkpoint is None:
            cell.missing = f"liif train --config configs/{cell.config}.yaml"
            if cell.seed is not None:
                cell.missing += f" --set seed={cell.seed} --name {cell.run}"
