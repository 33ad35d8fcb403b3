"""Write a measured table as Markdown, CSV, LaTeX and JSON, beside the published numbers."""

import csv
import io
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from liif.core.files import finite_or_none, to_json
from liif.evaluation.evaluate import METRICS, mean
from liif.evaluation.table_config import Column, TableCell, TableConfig

CellRecord = dict[str, Any]
"""A row on one set at one scale, over all its seeds, as in the JSON file."""
Rows = list[tuple[str, dict[float, CellRecord]]]
"""The rows of a set: name, and cells by scale."""
COLUMNS = (
    *("set", "scale", "row", "trained", "psnr", "published", "difference", "psnr_rgb", "psnr_y"),
    *("ssim", "lpips", "images", "measured", "protocol", "lr", "precision", "options", "config"),
    *("checkpoint", "checkpoint_sha256", "data_sha256", "step", "steps", "machine", "date"),
    *("published_source", "missing", "parameters", "seconds", "seeds", "trainings", "psnr_std"),
    "published_note",
)
OF_A_TRAINING = ("seed", "checkpoint", "checkpoint_sha256", "step", "steps", "seconds")
"""What differs between the trainings of a row, besides the scores."""
COMMANDS = ("liif train ", "python ")
"""How a reason begins that is the command of a missing training; the second in older files."""
MARK = "*"
MARK_TEXT = "outside the scales of its training"
NOTE = "†"
"""Marks published numbers of another protocol, or from another recipe of training."""


def cell_records(table: TableConfig, cells: Sequence[TableCell]) -> list[CellRecord]:
    """Return what the JSON and the CSV file hold of every row, set and scale, with all keys of
    COLUMNS. The scores of a row with seeds are means over its trainings."""
    groups = groupby(cells, key=lambda cell: (id(cell.row), cell.test.set, cell.scale))
    return [_cell_record(table, list(group)) for _, group in groups]


def _cell_record(table: TableConfig, cells: Sequence[TableCell]) -> CellRecord:
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
    if first.seed is not None:
        facts |= dict.fromkeys(OF_A_TRAINING)
        facts |= {"seeds": [cell.seed for cell in cells], "trainings": trainings}
        facts["seconds"] = _mean([each["seconds"] for each in trainings])
        if psnr is not None and len(used) > 1:
            facts["psnr_std"] = statistics.stdev(each["psnr"] for each in trainings)
    return {key: finite_or_none(facts.get(key)) for key in COLUMNS}


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


def as_json(name: str, table: TableConfig, records: Sequence[CellRecord]) -> str:
    """Return the content of the JSON file, which holds everything."""
    content = {"table": name, "title": table.title, "source": table.source, "cells": records}
    return to_json(content, indent=1) + "\n"


def as_csv(records: Sequence[CellRecord]) -> str:
    """Return the content of the CSV file, with one line for each row, set and scale."""
    file = io.StringIO()
    columns = [key for key in COLUMNS if key != "trainings"]
    writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for record in records:
        seeds = " ".join(map(str, record["seeds"] or ()))
        writer.writerow({**record, "options": _options_text(record), "seeds": seeds})
    return file.getvalue()


def _options_text(record: CellRecord) -> str:
    return json.dumps(record["options"]) if record["options"] else ""


def as_markdown(table: TableConfig, records: Sequence[CellRecord]) -> str:
    """Return the report for readers: a table for each set, further scores and provenance."""
    parts = [f"# {table.title}", f"Published: {table.source}." if table.source else ""]
    for name, scales, rows in _by_set(records):
        heads = [*table.columns, *(f"x{s:g}" for s in scales)]
        lines = [f"| {name} | | {' | '.join(heads)} |", "|---|---|" + "--:|" * len(heads)]
        for title, cells in rows:
            first, about = title.replace("|", r"\|"), _about_model(table.columns, cells)
            for label, show in _lines(cells).items():
                shown = [*about, *(show(cells[s]) if s in cells else "" for s in scales)]
                lines.append(f"| {first} | {label} | {' | '.join(shown)} |")
                first, about = "", [""] * len(about)
        parts.append("\n".join(lines))
    if any(_is_marked(record) for record in records):
        parts.append(f"\\{MARK} {MARK_TEXT}.")
    parts.append("\n".join(f"- {NOTE} {note}" for note in _notes(records)))
    measured = [record for record in records if record["measured"]]
    parts += [_further(measured), _unmeasured(records), _provenance(measured)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _notes(records: Sequence[CellRecord]) -> list[str]:
    """Return the notes on published numbers, one for each row that has one."""
    found = [(record["row"], record["published_note"]) for record in records]
    return [f"{row}: {note}." for row, note in dict.fromkeys(found) if note]


def _about_model(columns: Sequence[Column], cells: dict[float, CellRecord]) -> list[str]:
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


def _lines(cells: dict[float, CellRecord]) -> dict[str, Callable[[CellRecord], str]]:
    """Return the functions that format the cells of a row's lines, by the lines' labels."""
    has_ours = any(record["measured"] for record in cells.values())
    has_published = any(record["published"] is not None for record in cells.values())
    lines = {"ours": _ours} if has_ours or not has_published else {}
    if has_published:
        has_note = any(record["published_note"] for record in cells.values())
        label = f"published {NOTE}" if has_note else "published"
        lines[label] = lambda record: _number(record["published"])
    if has_ours and has_published:
        lines["difference"] = lambda record: _number(record["difference"], "+.2f")
    return lines


def _ours(record: CellRecord) -> str:
    measured, images = record["measured"], record["images"]
    if not measured:
        return "–"
    count = "" if measured == images else f" ({measured} of {images} images)"
    if record["seeds"] and len(record["trainings"]) < len(record["seeds"]):
        count += f" ({len(record['trainings'])} of {len(record['seeds'])} seeds)"
    deviation = "" if record["psnr_std"] is None else f" ± {_number(record['psnr_std'])}"
    return _number(record["psnr"]) + deviation + (MARK if _is_marked(record) else "") + count


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
        remedy = f"train it with `{reason}`" if reason.startswith(COMMANDS) else reason
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
        used = [_checkpoint(each) for each in record["trainings"] or [record] if each["checkpoint"]]
        models.setdefault((record["row"], *used, *facts), []).append(record)
    for (row, *facts), own in models.items():
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
    if any(record["psnr_std"] is not None for record in measured):
        lines.append("- ± is the standard deviation over the trainings of a row (n − 1).")
    end = "- Scores are means over images; outputs are not rounded to 8 bits, except bicubic's."
    return "\n".join([*lines, end])


def _checkpoint(training: CellRecord) -> str:
    step, steps = training["step"], training["steps"]
    progress = f", step {step:,} of {steps:,}" if step and steps else ""
    digest = training["checkpoint_sha256"][:16]
    return f"`{training['checkpoint']}` (sha256 {digest}…{progress})"


LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"\\": r"\textbackslash{}", "–": "--", "×": r"$\times$", "±": r"$\pm$"}
)  # fmt: skip


def as_latex(table: TableConfig, records: Sequence[CellRecord]) -> str:
    """Return a booktabs table for each set: our number, then the published one in brackets."""
    lines = [f"% {table.title}. Published: {table.source or 'nothing'}.".replace("\n", " ")]
    for name, scales, rows in _by_set(records):
        heads = [*table.columns, *(rf"$\times${s:g}" for s in scales)]
        columns = rf"\begin{{tabular}}{{l{'r' * len(heads)}}}"
        head = " & ".join([name.translate(LATEX), *heads]) + r" \\"
        lines += [columns, r"\toprule", head, r"\midrule"]
        for title, cells in rows:
            shown = _about_model(table.columns, cells)
            shown += [_latex_cell(cells[s]) if s in cells else "" for s in scales]
            lines.append(" & ".join([title.translate(LATEX), *shown]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    marked = any(_is_marked(record) for record in records)
    note = f" $^{MARK}$ {MARK_TEXT[0].upper()}{MARK_TEXT[1:]}." if marked else ""
    brackets = " In brackets: published." if table.source else ""
    note += "".join(rf" $^\dagger$ {text.translate(LATEX)}" for text in _notes(records))
    if note or brackets:
        lines.append(rf"\par{{\footnotesize{brackets}{note}}}")
    return "\n".join(lines) + "\n"


def _latex_cell(record: CellRecord) -> str:
    ours = _ours(record).translate(LATEX).replace(MARK, r"$^*$")
    published = record["published"]
    dagger = r"$^\dagger$" if record["published_note"] else ""
    return ours if published is None else f"{ours} ({published:.2f}{dagger})"
