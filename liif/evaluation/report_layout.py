"""What the Markdown and the LaTeX of a table have in common: its parts, columns and numbers."""

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import groupby

from liif.core.sizes import Scale, scale_text
from liif.evaluation.report import CellRecord
from liif.evaluation.table_config import Column

Rows = list[tuple[str, dict[Scale, CellRecord]]]
"""The rows of a set: name, and cells by scale."""
MARK = "*"
MARK_TEXT = "outside the scales of its training"
MOST_COLUMNS = 10
"""Scales of a table beside one another; a set of more has several tables."""
NOTE = "†"
"""Marks published numbers of another protocol, or from another recipe of training."""


def by_set(records: Sequence[CellRecord]) -> Iterator[tuple[str, list[Scale], Rows]]:
    """Yield (set, its scales, its rows), in the table's order; a set of many scales in parts."""
    for name in dict.fromkeys(record["set"] for record in records):
        own = [record for record in records if record["set"] == name]
        rows = groupby(own, key=lambda record: record["row"])
        by_scale = [(row, {scale_of(record): record for record in group}) for row, group in rows]
        scales = sorted({scale_of(record) for record in own}, key=math.prod)
        parts = math.ceil(len(scales) / MOST_COLUMNS)
        size = math.ceil(len(scales) / parts)
        for start in range(0, len(scales), size):
            yield name, scales[start : start + size], by_scale


def scale_of(record: CellRecord) -> Scale:
    """Return the scale of a record as (vertical, horizontal)."""
    scale = record["scale"]
    return (scale[0], scale[1]) if isinstance(scale, list) else (scale, scale)


def heading(scale: Scale) -> str:
    """Return the heading of a column: x2.5, or x2.5×1.5 (vertical × horizontal)."""
    return "x" + scale_text(scale).replace("x", "×")


def badges(rows: Rows, scales: Sequence[Scale]) -> tuple[str, list[str]]:
    """Return the protocol of a set's numbers, and for each scale the start of the hash of its
    images; "" where nothing was measured."""
    found: list[CellRecord | None] = []
    for scale in scales:
        cells = [cells[scale] for _, cells in rows if scale in cells]
        found.append(next((cell for cell in cells if cell["measured"]), None))
    protocol = next((record["protocol"] for record in found if record), "")
    return protocol, [record["badge"].split()[1] if record else "" for record in found]


def about_model(columns: Sequence[Column], cells: dict[Scale, CellRecord]) -> list[str]:
    """Return what the columns of a table say about the model of a row."""
    record = next((cell for cell in cells.values() if cell["measured"]), None)
    if record is None:
        return [""] * len(columns)
    count, seconds, seeds = record["parameters"], record["seconds"], record["seeds"]
    texts: dict[Column, str] = {
        "parameters": f"{count:,}" if count else "",
        "time": str(timedelta(seconds=round(seconds))) if seconds else "",
        "seeds": str(len(record["trainings"])) if seeds else "1" if record["checkpoint"] else "",
    }
    return [texts[column] for column in columns]


def ours(record: CellRecord) -> str:
    """Return our number in a cell, with its deviation and what is missing of it."""
    measured, images = record["measured"], record["images"]
    if not measured:
        return "–"
    count = "" if measured == images else f" ({measured} of {images} images)"
    if record["seeds"] and len(record["trainings"]) < len(record["seeds"]):
        count += f" ({len(record['trainings'])} of {len(record['seeds'])} seeds)"
    deviation = "" if record["psnr_std"] is None else f" ± {number(record['psnr_std'])}"
    return number(record["psnr"]) + deviation + (MARK if is_marked(record) else "") + count


def is_marked(record: CellRecord) -> bool:
    """Return whether a number is from a scale that the model was not trained for."""
    return bool(record["measured"]) and not record["trained"]


def number(value: float | None, form: str = ".2f") -> str:
    """Return a formatted number; "" for None, and never a negative zero."""
    return "" if value is None else f"{round(value, 4) + 0.0:{form}}".replace("-0.00", "+0.00")


def notes(records: Sequence[CellRecord]) -> list[str]:
    """Return the notes on published numbers, one for each row that has one."""
    found = [(record["row"], record["published_note"]) for record in records]
    return [f"{row}: {note}." for row, note in dict.fromkeys(found) if note]
