"""Write a measured table as Markdown, CSV, LaTeX and JSON, beside the published numbers."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from liif.core.files import finite_or_none, to_json
from liif.evaluation.evaluate import METRICS
from liif.evaluation.table_config import TableCell, TableConfig

CellRecord = dict[str, Any]
"""A cell as in the JSON file."""
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
        options = json.dumps(record["options"]) if record["options"] else ""
        writer.writerow({**record, "options": options})
    return file.getvalue()


def as_markdown(table: TableConfig, records: Sequence[CellRecord]) -> str:
    """Return the report for readers: a table for each set, further scores and provenance."""
    parts = [f"# {table.title}", f"Published: {table.source}." if table.source else ""]
    for name, scales, rows in _by_set(records):
        lines = [f"| {name} | | " + " | ".join(f"x{s:g}" for s in scales) + " |"]
        lines.append("|---|---|" + "--:|" * len(scales))
        for title, cells in rows:
            for i, (label, show) in enumerate(_lines(cells)):
                shown = " | ".join(show(cells[s]) if s in cells else "" for s in scales)
                first = title.replace("|", r"\|") if i == 0 else ""
                lines.append(f"| {first} | {label} | {shown} |")
        parts.append("\n".join(lines))
    if any(_is_marked(record) for record in records):
        parts.append(f"\\{MARK} {MARK_TEXT}.")
    parts += [_further(records), _unmeasured(records), _provenance(records)]
    return "\n\n".join(part for part in parts if part) + "\n"


Show = Callable[[CellRecord], str]


def _lines(cells: dict[float, CellRecord]) -> list[tuple[str, Show]]:
    """Return the lines of a row: (label, function that formats a cell)."""
    lines: list[tuple[str, Show]] = []
    if any(record["measured"] for record in cells.values()):
        lines.append(("ours", _ours))
    if any(record["published"] is not None for record in cells.values()):
        lines.append(("published", lambda record: _number(record["published"], ".2f")))
    if len(lines) == 2:
        lines.append(("difference", lambda record: _number(record["difference"], "+.2f")))
    return lines or [("ours", _ours)]


def _ours(record: CellRecord) -> str:
    if not record["measured"]:
        return "–"
    count = f" ({record['measured']} of {record['images']} images)"
    is_whole = record["measured"] == record["images"]
    mark = MARK if _is_marked(record) else ""
    return _number(record["psnr"], ".2f") + mark + ("" if is_whole else count)


def _is_marked(record: CellRecord) -> bool:
    return bool(record["measured"]) and not record["trained"]


def _number(value: float | None, form: str) -> str:
    """Return a formatted number; "" for None, and never a negative zero."""
    return "" if value is None else f"{round(value, 4) + 0.0:{form}}".replace("-0.00", "+0.00")


def _by_set(
    records: Sequence[CellRecord],
) -> list[tuple[str, list[float], list[tuple[str, dict[float, CellRecord]]]]]:
    """Return (set, its scales, its rows with their cells by scale), in the table's order."""
    result: list[tuple[str, list[float], list[tuple[str, dict[float, CellRecord]]]]] = []
    for name in dict.fromkeys(record["set"] for record in records):
        own = [record for record in records if record["set"] == name]
        rows = [
            (row, {record["scale"]: record for record in group})
            for row, group in groupby(own, key=lambda record: record["row"])
        ]
        result.append((name, sorted({record["scale"] for record in own}), rows))
    return result


def _further(records: Sequence[CellRecord]) -> str:
    measured = [record for record in records if record["measured"]]
    if not measured:
        return ""
    forms = {"psnr_rgb": ".2f", "psnr_y": ".2f", "ssim": ".4f"}
    if any(record["lpips"] is not None for record in measured):
        forms["lpips"] = ".4f"
    heads = {"psnr_rgb": "PSNR, RGB", "psnr_y": "PSNR, luma", "ssim": "SSIM", "lpips": "LPIPS"}
    lines = ["## Further scores", ""]
    lines.append("| set | scale | | " + " | ".join(heads[key] for key in forms) + " |")
    lines.append("|---|--:|---|" + "--:|" * len(forms))
    for record in sorted(measured, key=lambda e: (str(e["set"]), float(e["scale"]))):
        shown = " | ".join(_number(record[key], form) for key, form in forms.items())
        lines.append(f"| {record['set']} | x{record['scale']:g} | {record['row']} | {shown} |")
    return "\n".join(lines)


def _unmeasured(records: Sequence[CellRecord]) -> str:
    rows: dict[str, list[str]] = {}
    for record in records:
        if record["missing"] and record["row"] not in rows.setdefault(record["missing"], []):
            rows[record["missing"]].append(record["row"])
    lines = [f"- {'; '.join(names)}: {_code(reason)}" for reason, names in rows.items()]
    return "\n".join(["## Not measured", "", *lines]) if rows else ""


def _code(reason: str) -> str:
    return f"train it with `{reason}`" if reason.startswith("python ") else reason


def _provenance(records: Sequence[CellRecord]) -> str:
    measured = [record for record in records if record["measured"]]
    if not measured:
        return ""
    lines = ["## How it was measured", ""]
    groups: dict[tuple[Any, ...], list[CellRecord]] = {}
    for record in measured:
        options = json.dumps(record["options"]) if record["options"] else ""
        key = (record["row"], record["checkpoint"], record["precision"], options, record["machine"])
        groups.setdefault(key, []).append(record)
    for (row, checkpoint, precision, options, machine), own in groups.items():
        facts = [str(precision), *([f"options {options}"] if options else []), machine]
        if checkpoint:
            steps = own[0]["step"], own[0]["steps"]
            step = f", step {steps[0]:,} of {steps[1]:,}" if all(steps) else ""
            facts.insert(0, f"`{checkpoint}` (sha256 {own[0]['checkpoint_sha256'][:16]}…{step})")
        lines.append(f"- {row}: {'; '.join([*facts, max(e['date'] for e in own)])}")
    for name in dict.fromkeys(record["set"] for record in measured):
        own = [record for record in measured if record["set"] == name]
        sources = {f"x{record['scale']:g}": record["lr"] for record in own}
        lr = "; ".join(f"{scale} {source}" for scale, source in sources.items())
        lines.append(
            f"- {name}: protocol {own[0]['protocol']}, {own[0]['images']} images; "
            f"low-resolution images: {lr}; sha256 over all files, "
            f"x{own[0]['scale']:g}: {own[0]['data_sha256'][:16]}…"
        )
    lines.append(
        "- Scores are means over images; outputs are not rounded to 8 bits, except bicubic's."
    )
    return "\n".join(lines)


LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"\\": r"\textbackslash{}", "–": "--", "×": r"$\times$"}
)  # fmt: skip


def as_latex(table: TableConfig, records: Sequence[CellRecord]) -> str:
    """Return a booktabs table for each set: our number, then the published one in brackets."""
    lines = [f"% {table.title}. Published: {table.source or 'nothing'}.".replace("\n", " ")]
    for name, scales, rows in _by_set(records):
        lines += [
            rf"\begin{{tabular}}{{l{'r' * len(scales)}}}",
            r"\toprule",
            " & ".join([name.translate(LATEX), *(rf"$\times${s:g}" for s in scales)]) + r" \\",
            r"\midrule",
        ]
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
