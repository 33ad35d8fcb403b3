"""Write a measured table as Markdown, CSV, LaTeX and JSON, beside the published numbers."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from liif.core.files import finite_or_none, to_json
from liif.evaluation.evaluate import METRICS
from liif.evaluation.table_config import TableCell, TableConfig

CellRecord = dict[str, Any]
"""A cell as in the JSON file."""
Rows = list[tuple[str, dict[float, CellRecord]]]
"""The rows of a set: name, and cells by scale."""
COLUMNS = (
    *("set", "scale", "row", "trained", "psnr", "published", "difference", "psnr_rgb", "psnr_y"),
    *("ssim", "lpips", "images", "measured", "protocol", "lr", "precision", "options", "config"),
    *("checkpoint", "checkpoint_sha256", "data_sha256", "step", "steps", "machine", "date"),
    *("published_source", "missing"),
)
MARK = "*"
MARK_TEXT = "outside the scales of its training"


def cell_records(table: TableConfig, cells: Sequence[TableCell]) -> list[CellRecord]:
    """Return what the JSON and the CSV file hold of every cell, with all keys of COLUMNS."""
    return [_cell_record(table, cell) for cell in cells]


def _cell_record(table: TableConfig, cell: TableCell) -> CellRecord:
    ours, published = cell.mean("psnr"), cell.published
    is_whole = len(cell.measurements) == cell.settings.get("images")
    facts: CellRecord = {
        "set": cell.test.set,
        "scale": cell.scale,
        "row": cell.row.name,
        "trained": cell.is_trained,
        "published": published,
        "published_source": None if published is None else cell.row.source or table.source,
        "difference": ours - published if is_whole and ours and published else None,
        "measured": len(cell.measurements),
        "config": cell.config,
        "missing": cell.missing,
        "machine": "; ".join(dict.fromkeys(m["machine"] for m in cell.measurements)),
        "date": max((m["date"] for m in cell.measurements), default=None),
        **{metric: cell.mean(metric) for metric in METRICS},
        **cell.settings,
    }
    return {key: finite_or_none(facts.get(key)) for key in COLUMNS}


def as_json(name: str, table: TableConfig, records: Sequence[CellRecord]) -> str:
    """Return the content of the JSON file, which holds everything."""
    content = {"table": name, "title": table.title, "source": table.source, "cells": records}
    return to_json(content, indent=1) + "\n"


def as_csv(records: Sequence[CellRecord]) -> str:
    """Return the content of the CSV file, with one line for each cell."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({**record, "options": _options_text(record)})
    return file.getvalue()


def _options_text(record: CellRecord) -> str:
    return json.dumps(record["options"]) if record["options"] else ""


def as_markdown(table: TableConfig, records: Sequence[CellRecord]) -> str:
    """Return the report for readers: a table for each set, further scores and provenance."""
    parts = [f"# {table.title}", f"Published: {table.source}." if table.source else ""]
    for name, scales, rows in _by_set(records):
        lines = [f"| {name} | | " + " | ".join(f"x{s:g}" for s in scales) + " |"]
        lines.append("|---|---|" + "--:|" * len(scales))
        for title, cells in rows:
            first = title.replace("|", r"\|")
            for label, show in _lines(cells).items():
                shown = " | ".join(show(cells[s]) if s in cells else "" for s in scales)
                lines.append(f"| {first} | {label} | {shown} |")
                first = ""
        parts.append("\n".join(lines))
    if any(_is_marked(record) for record in records):
        parts.append(f"\\{MARK} {MARK_TEXT}.")
    measured = [record for record in records if record["measured"]]
    parts += [_further(measured), _unmeasured(records), _provenance(measured)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _lines(cells: dict[float, CellRecord]) -> dict[str, Callable[[CellRecord], str]]:
    """Return the functions that format the cells of a row's lines, by the lines' labels."""
    has_ours = any(record["measured"] for record in cells.values())
    has_published = any(record["published"] is not None for record in cells.values())
    lines = {"ours": _ours} if has_ours or not has_published else {}
    if has_published:
        lines["published"] = lambda record: _number(record["published"])
    if has_ours and has_published:
        lines["difference"] = lambda record: _number(record["difference"], "+.2f")
    return lines


def _ours(record: CellRecord) -> str:
    measured, images = record["measured"], record["images"]
    if not measured:
        return "–"
    count = "" if measured == images else f" ({measured} of {images} images)"
    return _number(record["psnr"]) + (MARK if _is_marked(record) else "") + count


def _is_marked(record: CellRecord) -> bool:
    return bool(record["measured"]) and not record["trained"]


def _number(value: float | None, form: str = ".2f") -> str:
    """Return a formatted number; "" for None, and never a negative zero."""
    return "" if value is None else f"{round(value, 4) + 0.0:{form}}".replace("-0.00", "+0.00")


def _by_set(records: Sequence[CellRecord]) -> Iterator[tuple[str, list[float], Rows]]:
    """Yield (set, its scales, its rows), in the table's order."""
    for name in dict.fromkeys(record["set"] for record in records):
        own = [record for record in records if record["set"] == name]
        rows = groupby(own, key=lambda record: record["row"])
        by_scale = [(row, {record["scale"]: record for record in group}) for row, group in rows]
        yield name, sorted({record["scale"] for record in own}), by_scale


def _further(measured: Sequence[CellRecord]) -> str:
    if not measured:
        return ""
    heads = {"psnr_rgb": "PSNR, RGB", "psnr_y": "PSNR, luma", "ssim": "SSIM"}
    if any(record["lpips"] is not None for record in measured):
        heads["lpips"] = "LPIPS"
    lines = ["## Further scores", "", f"| set | scale | | {' | '.join(heads.values())} |"]
    lines.append("|---|--:|---|" + "--:|" * len(heads))
    for record in sorted(measured, key=itemgetter("set", "scale")):
        shown = [_number(record[key], ".2f" if "psnr" in key else ".4f") for key in heads]
        title = f"| {record['set']} | x{record['scale']:g} | {record['row']} | "
        lines.append(title + " | ".join(shown) + " |")
    return "\n".join(lines)


def _unmeasured(records: Sequence[CellRecord]) -> str:
    rows: dict[str, dict[str, None]] = {}
    for record in records:
        if record["missing"]:
            rows.setdefault(record["missing"], {})[record["row"]] = None
    lines = ["## Not measured", ""]
    for reason, names in rows.items():
        remedy = f"train it with `{reason}`" if reason.startswith("python ") else reason
        lines.append(f"- {'; '.join(names)}: {remedy}")
    return "\n".join(lines) if rows else ""


def _provenance(measured: Sequence[CellRecord]) -> str:
    if not measured:
        return ""
    lines = ["## How it was measured", ""]
    models: dict[tuple[str, ...], list[CellRecord]] = {}
    for record in measured:
        facts = [record["precision"], record["machine"]]
        if record["options"]:
            facts.insert(1, f"options {_options_text(record)}")
        models.setdefault((record["row"], record["checkpoint"], *facts), []).append(record)
    for (row, checkpoint, *facts), own in models.items():
        if checkpoint:
            step, steps, digest = (own[0][key] for key in ("step", "steps", "checkpoint_sha256"))
            progress = f", step {step:,} of {steps:,}" if step and steps else ""
            facts.insert(0, f"`{checkpoint}` (sha256 {digest[:16]}…{progress})")
        lines.append(f"- {row}: {'; '.join([*facts, max(record['date'] for record in own)])}")
    for name in dict.fromkeys(record["set"] for record in measured):
        own = [record for record in measured if record["set"] == name]
        sources = {f"x{record['scale']:g}": record["lr"] for record in own}
        lr = "; ".join(f"{scale} {source}" for scale, source in sources.items())
        lines.append(
            f"- {name}: protocol {own[0]['protocol']}, {own[0]['images']} images; "
            f"low-resolution images: {lr}; sha256 over all files, "
            f"x{own[0]['scale']:g}: {own[0]['data_sha256'][:16]}…"
        )
    end = "- Scores are means over images; outputs are not rounded to 8 bits, except bicubic's."
    return "\n".join([*lines, end])


LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"\\": r"\textbackslash{}", "–": "--", "×": r"$\times$"}
)  # fmt: skip


def as_latex(table: TableConfig, records: Sequence[CellRecord]) -> str:
    """Return a booktabs table for each set: our number, then the published one in brackets."""
    lines = [f"% {table.title}. Published: {table.source or 'nothing'}.".replace("\n", " ")]
    for name, scales, rows in _by_set(records):
        head = " & ".join([name.translate(LATEX), *(rf"$\times${s:g}" for s in scales)]) + r" \\"
        lines += [rf"\begin{{tabular}}{{l{'r' * len(scales)}}}", r"\toprule", head, r"\midrule"]
        for title, cells in rows:
            shown = [_latex_cell(cells[s]) if s in cells else "" for s in scales]
            lines.append(" & ".join([title.translate(LATEX), *shown]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    marked = any(_is_marked(record) for record in records)
    note = f" $^{MARK}$ {MARK_TEXT[0].upper()}{MARK_TEXT[1:]}." if marked else ""
    brackets = " In brackets: published." if table.source else ""
    if note or brackets:
        lines.append(rf"\par{{\footnotesize{brackets}{note}}}")
    return "\n".join(lines) + "\n"


def _latex_cell(record: CellRecord) -> str:
    ours = _ours(record).translate(LATEX).replace(MARK, r"$^*$")
    published = record["published"]
    return ours if published is None else f"{ours} ({published:.2f})"
