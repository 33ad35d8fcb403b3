"""`liif tables`: the paper's tables, ours beside published."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from liif.commands.device import device_argument, keep_freed_memory, machine, select_device
from liif.commands.options import (
    check_target,
    inference_arguments,
    inference_options,
    scoring_arguments,
)
from liif.core.config_file import load_config
from liif.core.distributed import joined
from liif.core.errors import UserError
from liif.core.progress import progress_bar
from liif.evaluation.perceptual import lpips_score
from liif.evaluation.report import as_csv, as_json, as_latex, as_markdown, entries
from liif.evaluation.table_config import Cell, TableConfig, find_checkpoints, table_cells
from liif.evaluation.tables import Bench, Job
from liif.hub.catalog import find
from liif.hub.pretrained import resolve_checkpoint
from liif.models.checkpoint import write_atomically

SUMMARY = "Measure a table of the paper and set it beside the published numbers."
EXAMPLE = "--table benchmark --sets set5,set14"

TABLES = Path("configs/tables")

log = logging.getLogger("liif")


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "div2k, benchmark, ablation, single-scale, celebahq, or the file of another table"
    parser.add_argument("--table", required=True, metavar="NAME|FILE", help=text)
    for name, example in (("sets", "set5,set14"), ("scales", "2,3,4"), ("rows", "bicubic,edsr")):
        text = f"only these {name}, e.g. {example}"
        text += " (parts of their names)" if name == "rows" else ""
        parser.add_argument(f"--{name}", default="", metavar="LIST", help=text)
    text = "instead of $LIIF_DATA or datasets/"
    parser.add_argument("--data-root", metavar="DIR", help=text)
    text = "use this model, a file or a name that `liif models` lists, for the row of a "
    text += "configuration, e.g. edsr-liif=edsr-baseline-liif.pth "
    text += "(default: runs/CONFIG/last.pt)"
    add = parser.add_argument
    add("--checkpoint", action="append", default=[], metavar="CONFIG=FILE", help=text)
    add("--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of the runs")
    text = "folder of the tables and of all that was measured (default: results)"
    add("--out", type=Path, default=Path("results"), metavar="DIR", help=text)
    add("--lpips", action="store_true", help='LPIPS, too; needs pip install "liif[metrics]"')
    add("--list", action="store_true", help="only list the rows' configurations and checkpoints")
    device_argument(parser)
    inference_arguments(parser)
    scoring_arguments(parser)


def run(options: argparse.Namespace) -> int:
    file = _table_file(options.table)
    table = load_config(TableConfig, file)
    sets = _listed(options.sets)
    scales = [_scale(text) for text in _listed(options.scales)]
    overrides = [f"data_root={options.data_root}"] if options.data_root else []
    cells = table_cells(
        table, file, sets=sets, scales=scales, rows=options.rows, overrides=overrides
    )
    if not cells:
        raise UserError("nothing of the table is left by --sets, --scales and --rows")
    find_checkpoints(cells, options.runs, dict(map(_assignment, options.checkpoint)))
    if options.list:
        for config, cell in {cell.config: cell for cell in cells if cell.config}.items():
            print(f"{config}\t{cell.checkpoint or 'missing'}")
        return 0
    device = select_device(options.device)
    keep_freed_memory(device)
    check_target(options.out / f"{file.stem}.md")
    perceptual = lpips_score(device) if options.lpips else None
    kept, by = options.out / "measurements", inference_options(options)
    with joined(device) as team:
        bench = Bench(kept, device, machine(device), by, perceptual, team)
        jobs = bench.plan(cells, needed=sets)
        team.gather(None)  # nothing is measured before all have seen what is known
        try:
            _measure(bench, jobs)
        finally:  # interrupted, too: the same command goes on where it stopped
            if team.leads:
                _write(options.out, file.stem, table, cells)
    if team.leads and not any(cell.records for cell in cells):
        log.warning("nothing could be measured: see above for what is missing")
        return 1
    return 0


def _write(folder: Path, name: str, table: TableConfig, cells: Sequence[Cell]) -> None:
    found = entries(table, cells)
    markdown = as_markdown(table, found)
    texts = {
        "md": markdown,
        "csv": as_csv(found),
        "tex": as_latex(table, found),
        "json": as_json(name, table, found),
    }
    for suffix, text in texts.items():
        write_atomically(folder / f"{name}.{suffix}", text.encode())
    print(markdown)
    log.info("written: %s", ", ".join(str(folder / f"{name}.{suffix}") for suffix in texts))


def _measure(bench: Bench, jobs: Sequence[Job]) -> None:
    total, known = sum(len(job.pairs) for job in jobs), sum(len(job.cell.records) for job in jobs)
    log.info("%d images to measure, %d known already", total, known)
    bar = progress_bar(total=total, unit="image")
    with bar:
        for job in jobs:
            if not len(job.pairs):
                continue
            bar.set_description(job.cell.title)
            for _ in bench.run(job):
                bar.update()
            if job.cell.records:  # of bicubic's only one process knows
                log.info("%s: %s", job.cell.title, _summary(job.cell))


def _summary(cell: Cell) -> str:
    ours = f"PSNR {cell.mean('psnr'):.4f} dB"
    return ours if cell.published is None else f"{ours}, published {cell.published:.2f}"


def _table_file(name: str) -> Path:
    file = Path(name) if name.endswith((".yaml", ".yml")) else TABLES / f"{name}.yaml"
    if file.exists():
        return file
    known = ", ".join(sorted(path.stem for path in TABLES.glob("*.yaml")))
    where = f"known are {known}" if known else f"there is no {TABLES} here; run it in the project"
    raise UserError(f"--table {name}: no such table; {where}")


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _scale(text: str) -> float:
    try:
        return float(text.lower().removeprefix("x"))
    except ValueError:
        raise UserError(f"--scales {text}: must be numbers, e.g. 2,3,4") from None


def _assignment(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals:
        raise UserError(f"--checkpoint {text}: must be CONFIG=FILE, e.g. edsr-liif=weights.pth")
    if not Path(path).is_file() and find(path) is None:
        raise UserError(f"--checkpoint {text}: no such file, nor a name that `liif models` lists")
    return name, resolve_checkpoint(path)
