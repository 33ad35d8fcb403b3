"""The records of a measured table, beside the published numbers, and its JSON and CSV files."""

import csv
import io
import json
import statistics
from collections.abc import Sequence
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from liif.core.files import finite_or_none, to_json
from liif.core.sizes import Scale, scale_value
from liif.data.recipes import set_hash
from liif.evaluation.bootstrap import interval, training_interval
from liif.evaluation.evaluate import METRICS, mean
from liif.evaluation.named import definitions
from liif.evaluation.ranking import Comparison, RowScores, comparisons, row_scores
from liif.evaluation.table_config import TableCell, TableConfig

CellRecord = dict[str, Any]
"""A row on one set at one scale, over all its seeds, as in the JSON file."""
COLUMNS = (
    *("set", "scale", "row", "trained", "psnr", "published", "difference", "psnr_rgb", "psnr_y"),
    *("ssim", "lpips", "images", "measured", "protocol", "lr", "precision", "options", "config"),
    *("checkpoint", "checkpoint_sha256", "data_sha256", "step", "steps", "machine", "date"),
    *("published_source", "missing", "parameters", "seconds", "seeds", "trainings", "psnr_std"),
    *("published_note", "badge", "definition", "lr_sha256", "psnr_low", "psnr_high"),
    *("seeds_low", "seeds_high", "image_names", "image_psnr"),
)
JSON_ONLY = ("trainings", "image_names", "image_psnr")
"""Lists, which a line of CSV does not hold."""
OF_A_TRAINING = ("seed", "checkpoint", "checkpoint_sha256", "step", "steps", "seconds")
"""What differs between the trainings of a row, besides the scores."""
COMMANDS = ("liif train ", "python ")
"""How a reason begins that is the command of a missing training; the second in older files."""


class Report(NamedTuple):
    """What the files of a table are written from."""

    records: list[CellRecord]
    """Of every row, set and scale, with all keys of COLUMNS. The scores of a row with seeds are
    means over its trainings."""
    comparisons: list[Comparison]
    """Of the rows of each set and scale."""


def table_report(table: TableConfig, cells: Sequence[TableCell]) -> Report:
    """Return the records of measured cells, and how sure their order is."""
    rows = {id(row): i for i, row in enumerate(table.rows)}
    groups = groupby(cells, key=lambda cell: (id(cell.row), cell.test.set, cell.scale))
    records: list[CellRecord] = []
    compared: list[tuple[str, str, Scale, RowScores]] = []
    for (row, name, scale), group in groups:
        own = list(group)
        scores = row_scores(own, rows[row])
        records.append(_cell_record(table, own, scores))
        if scores is not None:
            compared.append((own[0].row.name, name, scale, scores))
    return Report(records, comparisons(compared))


def _cell_record(
    table: TableConfig, cells: Sequence[TableCell], images: RowScores | None
) -> CellRecord:
    """Return the record of the cells that differ in the seed only."""
    first, published = cells[0], cells[0].published
    used = [cell for cell in cells if cell.measurements]
    trainings = [_training(cell) for cell in used]
    scores = {metric: _mean([each[metric] for each in trainings]) for metric in METRICS}
    psnr, measurements = scores["psnr"], [m for cell in used for m in cell.measurements]
    is_whole = all(len(cell.measurements) == cell.settings.get("images") for cell in used)
    facts: CellRecord = {
        **(used or cells)[0].settings,
        "set": first.test.set,
        "scale": scale_value(first.scale),
        "row": first.row.name,
        "trained": first.is_trained,
        "published": published,
        "published_source": None if published is None else first.row.source or table.source,
        "published_note": None if published is None else first.row.note,
        "difference": psnr - published if is_whole and psnr and published else None,
        "measured": min((each["measured"] for each in trainings), default=0),
        "config": first.config,
        "missing": _missing(cells),
        "machine": "; ".join(dict.fromkeys(m["machine"] for m in measurements)),
        "date": max((m["date"] for m in measurements), default=None),
        **scores,
    }
    if used:
        facts |= _identity(used[0])
    if images is not None:
        facts["psnr_low"], facts["psnr_high"] = interval(images.means)
        facts["image_names"] = list(images.names)
        facts["image_psnr"] = [round(float(each), 6) for each in images.scores.mean(axis=0)]
        over = training_interval([float(each) for each in images.scores.mean(axis=1)])
        facts["seeds_low"], facts["seeds_high"] = over or (None, None)
    if first.seed is not None:
        facts |= dict.fromkeys(OF_A_TRAINING)
        facts |= {"seeds": [cell.seed for cell in cells], "trainings": trainings}
        facts["seconds"] = _mean([each["seconds"] for each in trainings])
        if psnr is not None and len(used) > 1:
            facts["psnr_std"] = statistics.stdev(each["psnr"] for each in trainings)
    return {key: finite_or_none(facts.get(key)) for key in COLUMNS}


def _identity(cell: TableCell) -> dict[str, Any]:
    """Return what a cell's numbers are: the definition of its PSNR, the hash of low-resolution
    images by a recipe as in their manifest, and a short name of protocol and data."""
    name = f"liif-{cell.settings['protocol']}"
    made = [(PurePosixPath(m["name"]).name, m.get("lr_sha256")) for m in cell.measurements]
    known = [(image, digest) for image, digest in made if digest]
    lr = set_hash(known) if known and len(known) == cell.settings["images"] else None
    digest = lr or cell.settings["data_sha256"]
    definition = str(definitions(name)[0])
    return {"badge": f"{name} {digest[:8]}", "definition": definition, "lr_sha256": lr}


def _training(cell: TableCell) -> dict[str, Any]:
    """Return the scores of one training of a row, and what they were measured with."""
    scores = {metric: finite_or_none(cell.mean(metric)) for metric in METRICS}
    facts = {key: cell.settings.get(key) for key in OF_A_TRAINING}
    return {**facts, **scores, "measured": len(cell.measurements)}


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean over the trainings; None if one of them has no value, or there is none."""
    found = [value for value in values if value is not None]
    return mean(found) if found and len(found) == len(values) else None


def _missing(cells: Sequence[TableCell]) -> str | None:
    """Return why trainings have no number: what is wrong with the data, or else the commands that
    train them."""
    reasons = dict.fromkeys(cell.missing for cell in cells if cell.missing)
    commands = [reason for reason in reasons if reason.startswith(COMMANDS)]
    others = [reason for reason in reasons if reason not in commands]
    return others[0] if others else " && ".join(commands) or None


def as_json(name: str, table: TableConfig, report: Report) -> str:
    """Return the content of the JSON file, which holds everything; see docs/protocols.md."""
    content = {"table": name, "title": table.title, "source": table.source}
    content |= {"cells": report.records, "comparisons": report.comparisons}
    return to_json(content, indent=1) + "\n"


def as_csv(records: Sequence[CellRecord]) -> str:
    """Return the content of the CSV file, with one line for each row, set and scale."""
    file = io.StringIO()
    columns = [key for key in COLUMNS if key not in JSON_ONLY]
    writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for record in records:
        seeds = " ".join(map(str, record["seeds"] or ()))
        writer.writerow({**record, "options": options_text(record), "seeds": seeds})
    return file.getvalue()


def options_text(record: CellRecord) -> str:
    """Return the options of a record as JSON; "" without any."""
    return json.dumps(record["options"]) if record["options"] else ""
