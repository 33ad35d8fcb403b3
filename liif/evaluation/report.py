"""A measured table as Markdown, CSV, LaTeX and JSON: ours beside the published."""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from liif.evaluation.table_config import Cell, TableConfig

Entry = dict[str, Any]
"""A cell in the JSON file."""
COLUMNS = (
    *("set", "scale", "row", "trained", "psnr", "published", "difference", "psnr_rgb", "psnr_y"),
    *("ssim", "lpips", "images", "measured", "protocol", "lr", "precision", "options", "config"),
    *("checkpoint", "checkpoint_sha256", "data_sha256", "step", "steps", "machine", "date"),
    *("published_source", "missing"),
)
MARK = "*"
MARK_TEXT = "outside the scales of its training"


def entries(table: TableConfig, cells: Sequence[Cell]) -> list[Entry]:
    """What the JSON and the CSV file hold of every cell, all keys of COLUMNS."""
    return [_entry(table, cell) for cell in cells]


def _entry(table: TableConfig, cell: Cell) -> Entry:
    means = {key: cell.mean(key) for key in ("psnr", "psnr_rgb", "psnr_y", "ssim", "lpips")}
    ours, published = means["psnr"], cell.published
    is_whole = len(cell.records) == cell.how.get("images")
    difference = ours - published if is_whole and ours and published else None
    facts: Entry = {
        "set": cell.test.set,
        "scale": cell.scale,
        "row": cell.row.name,
        "trained": cell.is_trained,
        "published": published,
        "published_source": None if published is None else cell.row.source or table.source,
        "difference": difference,
        "measured": len(cell.records),
        "config": cell.config,
        "missing": cell.missing,
        "machine": "; ".join(dict.fromkeys(r["machine"] for r in cell.records)),
        "date": max((r["date"] for r in cell.records), default=None),
        **means,
        **cell.how,
    }
    return {key: _plain(facts.get(key)) for key in COLUMNS}


def _plain(value: Any) -> Any:  # noqa: ANN401
    """JSON knows no infinity (equal images) and no NaN (too small for SSIM)."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_json(name: str, table: TableConfig, found: Sequence[Entry]) -> str:
    """Everything."""
    text = {"table": name, "title": table.title, "source": table.source, "cells": found}
    return json.dumps(text, indent=1, ensure_ascii=False) + "\n"


def as_csv(found: Sequence[Entry]) -> str:
    """A line a cell."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for entry in found:
        options = json.dumps(entry["options"]) if entry["options"] else ""
        writer.writerow({**entry, "options": options})
    return file.getvalue()


def as_markdown(table: TableConfig, found: Sequence[Entry]) -> str:
    """For people: a table a set, further scores, and how it was measured."""
    parts = [f"# {table.title}", f"Published: {table.source}." if table.source else ""]
    for name, scales, rows in _by_set(found):
        lines = [f"| {name} | | " + " | ".join(f"x{s:g}" for s in scales) + " |"]
        lines.append("|---|---|" + "--:|" * len(scales))
        for title, cells in rows:
            for i, (what, show) in enumerate(_lines(cells)):
                shown = " | ".join(show(cells[s]) if s in cells else "" for s in scales)
                first = title.replace("|", r"\|") if i == 0 else ""
                lines.append(f"| {first} | {what} | {shown} |")
        parts.append("\n".join(lines))
    if any(_is_marked(entry) for entry in found):
        parts.append(f"\\{MARK} {MARK_TEXT}.")
    parts += [_further(found), _unmeasured(found), _how(found)]
    return "\n\n".join(part for part in parts if part) + "\n"


Show = Callable[[Entry], str]


def _lines(cells: dict[float, Entry]) -> list[tuple[str, Show]]:
    """The lines of a row: (what it is, how a cell shows it)."""
    lines: list[tuple[str, Show]] = []
    if any(entry["measured"] for entry in cells.values()):
        lines.append(("ours", _ours))
    if any(entry["published"] is not None for entry in cells.values()):
        lines.append(("published", lambda entry: _number(entry["published"], ".2f")))
    if len(lines) == 2:
        lines.append(("difference", lambda entry: _number(entry["difference"], "+.2f")))
    return lines or [("ours", _ours)]


def _ours(entry: Entry) -> str:
    if not entry["measured"]:
        return "–"
    part = f" ({entry['measured']} of {entry['images']} images)"
    is_whole = entry["measured"] == entry["images"]
    mark = MARK if _is_marked(entry) else ""
    return _number(entry["psnr"], ".2f") + mark + ("" if is_whole else part)


def _is_marked(entry: Entry) -> bool:
    return bool(entry["measured"]) and not entry["trained"]


def _number(value: float | None, form: str) -> str:
    """Without a negative zero."""
    return "" if value is None else f"{round(value, 4) + 0.0:{form}}".replace("-0.00", "+0.00")


def _by_set(
    found: Sequence[Entry],
) -> list[tuple[str, list[float], list[tuple[str, dict[float, Entry]]]]]:
    """(set, its scales, its rows with their cells by scale), in the table's order."""
    result: list[tuple[str, list[float], list[tuple[str, dict[float, Entry]]]]] = []
    for name in dict.fromkeys(entry["set"] for entry in found):
        own = [entry for entry in found if entry["set"] == name]
        rows = [
            (row, {entry["scale"]: entry for entry in group})
            for row, group in groupby(own, key=lambda entry: entry["row"])
        ]
        result.append((name, sorted({entry["scale"] for entry in own}), rows))
    return result


def _further(found: Sequence[Entry]) -> str:
    measured = [entry for entry in found if entry["measured"]]
    if not measured:
        return ""
    forms = {"psnr_rgb": ".2f", "psnr_y": ".2f", "ssim": ".4f"}
    if any(entry["lpips"] is not None for entry in measured):
        forms["lpips"] = ".4f"
    heads = {"psnr_rgb": "PSNR, RGB", "psnr_y": "PSNR, luma", "ssim": "SSIM", "lpips": "LPIPS"}
    lines = ["## Further scores", ""]
    lines.append("| set | scale | | " + " | ".join(heads[key] for key in forms) + " |")
    lines.append("|---|--:|---|" + "--:|" * len(forms))
    for entry in sorted(measured, key=lambda e: (str(e["set"]), float(e["scale"]))):
        shown = " | ".join(_number(entry[key], form) for key, form in forms.items())
        lines.append(f"| {entry['set']} | x{entry['scale']:g} | {entry['row']} | {shown} |")
    return "\n".join(lines)


def _unmeasured(found: Sequence[Entry]) -> str:
    rows: dict[str, list[str]] = {}
    for entry in found:
        if entry["missing"] and entry["row"] not in rows.setdefault(entry["missing"], []):
            rows[entry["missing"]].append(entry["row"])
    lines = [f"- {'; '.join(names)}: {_code(reason)}" for reason, names in rows.items()]
    return "\n".join(["## Not measured", "", *lines]) if rows else ""


def _code(reason: str) -> str:
    return f"train it with `{reason}`" if reason.startswith("python ") else reason


def _how(found: Sequence[Entry]) -> str:
    measured = [entry for entry in found if entry["measured"]]
    if not measured:
        return ""
    lines = ["## How it was measured", ""]
    seen: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in measured:
        options = json.dumps(entry["options"]) if entry["options"] else ""
        key = (entry["row"], entry["checkpoint"], entry["precision"], options, entry["machine"])
        seen.setdefault(key, []).append(entry)
    for (row, checkpoint, precision, options, machine), own in seen.items():
        facts = [str(precision), *([f"options {options}"] if options else []), machine]
        if checkpoint:
            steps = own[0]["step"], own[0]["steps"]
            at = f", step {steps[0]:,} of {steps[1]:,}" if all(steps) else ""
            facts.insert(0, f"`{checkpoint}` (sha256 {own[0]['checkpoint_sha256'][:16]}…{at})")
        lines.append(f"- {row}: {'; '.join([*facts, max(e['date'] for e in own)])}")
    for name in dict.fromkeys(entry["set"] for entry in measured):
        own = [entry for entry in measured if entry["set"] == name]
        made = {f"x{entry['scale']:g}": entry["lr"] for entry in own}
        lr = "; ".join(f"{scale} {source}" for scale, source in made.items())
        lines.append(
            f"- {name}: protocol {own[0]['protocol']}, {own[0]['images']} images; "
            f"low-resolution images: {lr}; sha256 over all files, "
            f"x{own[0]['scale']:g}: {own[0]['data_sha256'][:16]}…"
        )
    lines.append(
        "- Means of the images' scores; results are not rounded to 8 bit, except bicubic's."
    )
    return "\n".join(lines)


LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"\\": r"\textbackslash{}", "–": "--", "×": r"$\times$"}
)  # fmt: skip


def as_latex(table: TableConfig, found: Sequence[Entry]) -> str:
    """A booktabs table: ours, the published number in brackets behind it."""
    lines = [f"% {table.title}. Published: {table.source or 'nothing'}.".replace("\n", " ")]
    for name, scales, rows in _by_set(found):
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
    marked = any(_is_marked(entry) for entry in found)
    note = f" $^{MARK}$ {MARK_TEXT[0].upper()}{MARK_TEXT[1:]}." if marked else ""
    brackets = " In brackets: published." if table.source else ""
    if note or brackets:
        lines.append(rf"\par{{\footnotesize{brackets}{note}}}")
    return "\n".join(lines) + "\n"


def _latex_cell(entry: Entry) -> str:
    ours = _ours(entry).translate(LATEX).replace(MARK, r"$^*$")
    published = entry["published"]
    return ours if published is None else f"{ours} ({published:.2f})"
