"""Write a measured table as LaTeX, beside the published numbers."""

from liif.core.sizes import Scale, scale_text
from liif.evaluation.report import CellRecord, Report
from liif.evaluation.report_layout import (
    MARK,
    MARK_TEXT,
    about_model,
    badges,
    by_set,
    is_marked,
    notes,
    ours,
)
from liif.evaluation.table_config import TableConfig

LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"\\": r"\textbackslash{}", "–": "--", "×": r"$\times$", "±": r"$\pm$"}
)  # fmt: skip


def as_latex(table: TableConfig, report: Report) -> str:
    """Return a booktabs table for each set: our number, then the published one in brackets; and a
    last line with the protocol and the start of the hash of the images."""
    records = report.records
    lines = [f"% {table.title}. Published: {table.source or 'nothing'}.".replace("\n", " ")]
    for name, scales, rows in by_set(records):
        heads = [*table.columns, *(_heading(scale) for scale in scales)]
        columns = rf"\begin{{tabular}}{{l{'r' * len(heads)}}}"
        head = " & ".join([name.translate(LATEX), *heads]) + r" \\"
        lines += [columns, r"\toprule", head, r"\midrule"]
        for title, cells in rows:
            shown = about_model(table.columns, cells)
            shown += [_cell(cells[s]) if s in cells else "" for s in scales]
            lines.append(" & ".join([title.translate(LATEX), *shown]) + r" \\")
        protocol, hashes = badges(rows, scales)
        if protocol:
            shown = [""] * len(table.columns) + [rf"\tiny {each}" for each in hashes]
            lines += [r"\midrule", " & ".join([rf"\tiny {protocol}, data", *shown]) + r" \\"]
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    marked = any(is_marked(record) for record in records)
    note = f" $^{MARK}$ {MARK_TEXT[0].upper()}{MARK_TEXT[1:]}." if marked else ""
    brackets = " In brackets: published." if table.source else ""
    note += "".join(rf" $^\dagger$ {text.translate(LATEX)}" for text in notes(records))
    if note or brackets:
        lines.append(rf"\par{{\footnotesize{brackets}{note}}}")
    return "\n".join(lines) + "\n"


def _heading(scale: Scale) -> str:
    return r"$\times$" + scale_text(scale).replace("x", r"$\times$")


def _cell(record: CellRecord) -> str:
    text = ours(record).translate(LATEX).replace(MARK, r"$^*$")
    published = record["published"]
    dagger = r"$^\dagger$" if record["published_note"] else ""
    return text if published is None else f"{text} ({published:.2f}{dagger})"
