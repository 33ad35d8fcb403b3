"""Write a measured table as Markdown, beside the published numbers."""

from collections.abc import Callable, Sequence
from math import prod

from liif.core.sizes import Scale
from liif.evaluation.bootstrap import RESAMPLES
from liif.evaluation.ranking import Comparison
from liif.evaluation.report import COMMANDS, CellRecord, Report, options_text
from liif.evaluation.report_layout import (
    MARK,
    MARK_TEXT,
    NOTE,
    about_model,
    badges,
    by_set,
    heading,
    is_marked,
    notes,
    number,
    ours,
    scale_of,
)
from liif.evaluation.table_config import TableConfig


def as_markdown(table: TableConfig, report: Report) -> str:
    """Return the report for readers: a table for each set, further scores, how sure the order of
    the rows is, and provenance."""
    records = report.records
    parts = [f"# {table.title}", f"Published: {table.source}." if table.source else ""]
    for name, scales, rows in by_set(records):
        heads = [*table.columns, *map(heading, scales)]
        lines = [f"| {name} | | {' | '.join(heads)} |", "|---|---|" + "--:|" * len(heads)]
        for title, cells in rows:
            first, about = title.replace("|", r"\|"), about_model(table.columns, cells)
            for label, show in _lines(cells).items():
                shown = [*about, *(show(cells[s]) if s in cells else "" for s in scales)]
                lines.append(f"| {first} | {label} | {' | '.join(shown)} |")
                first, about = "", [""] * len(about)
        protocol, hashes = badges(rows, scales)
        if protocol:
            shown = [*[""] * len(table.columns), *(f"`{h}`" if h else "" for h in hashes)]
            lines.append(f"| protocol `{protocol}` | data | {' | '.join(shown)} |")
        parts.append("\n".join(lines))
    if any(is_marked(record) for record in records):
        parts.append(f"\\{MARK} {MARK_TEXT}.")
    parts.append("\n".join(f"- {NOTE} {note}" for note in notes(records)))
    measured = [record for record in records if record["measured"]]
    parts += [_further(measured), _order(report.comparisons), _unmeasured(records)]
    parts.append(_provenance(measured))
    return "\n\n".join(part for part in parts if part) + "\n"


def _lines(cells: dict[Scale, CellRecord]) -> dict[str, Callable[[CellRecord], str]]:
    """Return the functions that format the cells of a row's lines, by the lines' labels."""
    has_ours = any(record["measured"] for record in cells.values())
    has_published = any(record["published"] is not None for record in cells.values())
    lines = {"ours": ours} if has_ours or not has_published else {}
    if has_published:
        has_note = any(record["published_note"] for record in cells.values())
        label = f"published {NOTE}" if has_note else "published"
        lines[label] = lambda record: number(record["published"])
    if has_ours and has_published:
        lines["difference"] = lambda record: number(record["difference"], "+.2f")
    return lines


def _further(measured: Sequence[CellRecord]) -> str:
    if not measured:
        return ""
    heads = {"psnr_rgb": "PSNR, RGB", "psnr_y": "PSNR, luma", "ssim": "SSIM"}
    if any(record["lpips"] is not None for record in measured):
        heads["lpips"] = "LPIPS"
    spans = {"psnr_low": "95 % over images"}
    if any(record["seeds_low"] is not None for record in measured):
        spans["seeds_low"] = "95 % over trainings"
    titles = [*heads.values(), *spans.values()]
    lines = ["## Further scores", "", f"| set | scale | | {' | '.join(titles)} |"]
    lines.append("|---|--:|---|" + "--:|" * len(titles))
    for record in sorted(measured, key=lambda each: (each["set"], prod(scale_of(each)))):
        shown = [number(record[key], ".2f" if "psnr" in key else ".4f") for key in heads]
        shown += [_span(record[low], record[low.replace("low", "high")]) for low in spans]
        title = f"| {record['set']} | {heading(scale_of(record))} | {record['row']} | "
        lines.append(title + " | ".join(shown) + " |")
    return "\n".join(lines)


def _span(low: float | None, high: float | None, form: str = ".2f") -> str:
    return "" if low is None else f"{number(low, form)} to {number(high, form)}"


def _order(comparisons: Sequence[Comparison]) -> str:
    """Return the comparison of each row with the next one in the ranking."""
    shown = [each for each in comparisons if each["neighbours"]]
    if not shown:
        return ""
    heads = "| set | scale | better | than | dB | 95 % over images | better on | order holds |"
    lines = ["## How sure the order is", "", heads, "|---|--:|---|---|--:|--:|--:|--:|"]
    for each in shown:
        facts = [each["set"], heading(scale_of(each)), each["better"], each["worse"]]
        facts += [number(each["difference"]), _span(each["low"], each["high"])]
        facts += [f"{each['wins']} of {each['images']}", f"{each['stability']:.1%}"]
        lines.append(f"| {' | '.join(facts)} |")
    lines += [
        "",
        f"Intervals hold 95 % of the means of {RESAMPLES:,} sets that are drawn with replacement "
        "from the images, and from a row's trainings if there are several; the order holds in the "
        "share of them that ranks the two rows alike (paired bootstrap). Further trainings may "
        "differ by more.",
    ]
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
            facts.insert(1, f"options {options_text(record)}")
        used = [_checkpoint(each) for each in record["trainings"] or [record] if each["checkpoint"]]
        models.setdefault((record["row"], *used, *facts), []).append(record)
    for (row, *facts), own in models.items():
        lines.append(f"- {row}: {'; '.join([*facts, max(record['date'] for record in own)])}")
    for name in dict.fromkeys(record["set"] for record in measured):
        own = [record for record in measured if record["set"] == name]
        sources = {heading(scale_of(record)): record["lr"] for record in own}
        is_one = len(set(sources.values())) == 1 < len(sources)
        lr = "; ".join(f"{scale} {source}" for scale, source in sources.items())
        lines.append(
            f"- {name}: {own[0]['protocol']} is `{own[0]['definition']}`; {own[0]['images']} "
            f"images; low-resolution images: {own[0]['lr'] if is_one else lr}"
        )
    if any(record["psnr_std"] is not None for record in measured):
        lines.append("- ± is the standard deviation over the trainings of a row (n − 1).")
    lines.append("- Scores are means over images; outputs are not rounded, except bicubic's.")
    lines.append(
        "- `data` is the start of a SHA-256: of the low-resolution images, as in the manifest of "
        "`liif data lr`, where they are made by a recipe, else of the hashes of all image files; "
        "the JSON file has it whole."
    )
    return "\n".join(lines)


def _checkpoint(training: CellRecord) -> str:
    step, steps = training["step"], training["steps"]
    progress = f", step {step:,} of {steps:,}" if step and steps else ""
    digest = training["checkpoint_sha256"][:16]
    return f"`{training['checkpoint']}` (sha256 {digest}…{progress})"
