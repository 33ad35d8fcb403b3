"""`liif tables`: measure the tables of the paper and compare them with the published numbers."""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from liif.commands import options as shared
from liif.commands.arguments import typed
from liif.commands.arguments.shared import NamedCheckpoint
from liif.commands.device import keep_freed_memory, machine, select_device
from liif.core.config_file import load_config
from liif.core.distributed import joined
from liif.core.errors import UserError
from liif.core.files import write_all
from liif.core.outputs import check_outputs
from liif.core.progress import progress_bar
from liif.core.shipped import find_config, shipped_folder
from liif.core.sizes import Scale
from liif.evaluation.perceptual import lpips_score
from liif.evaluation.report import as_csv, as_json, table_report
from liif.evaluation.report_latex import as_latex
from liif.evaluation.report_markdown import as_markdown
from liif.evaluation.table_config import TableCell, TableConfig, find_checkpoints, table_cells
from liif.evaluation.tables import PendingCell, TableEvaluator
from liif.hub.pretrained import resolve_checkpoint

TABLES = Path("configs/tables")

log = logging.getLogger("liif")


def run(options: argparse.Namespace) -> int:
    file = _table_file(options.table)
    table = load_config(TableConfig, file)
    sets = _split_list(options.sets)
    scales = [_scale(text) for text in _split_list(options.scales)]
    root = [f"data_root={options.data_root}"] if options.data_root else []
    cells = table_cells(table, file, sets=sets, scales=scales, rows=options.rows, overrides=root)
    if not cells:
        raise UserError("--sets, --scales and --rows select nothing of the table")
    find_checkpoints(cells, options.runs, _checkpoints_of_rows(options.checkpoint, cells))
    if options.list:
        for name, cell in {cell.run: cell for cell in cells if cell.run}.items():
            print(f"{name}\t{cell.checkpoint or 'missing'}")
        return 0
    device = select_device(options.device)
    keep_freed_memory(device)
    outputs = _outputs(options.output, file.stem)
    configs = [file, *(file.parent / each.config for each in table.sets.values())]
    inputs = [each for config in configs for each in shared.config_files(config)]
    inputs += [cell.checkpoint for cell in cells if cell.checkpoint]
    check_outputs(outputs, inputs, overwrite=options.overwrite or _is_own(outputs[-1], file.stem))
    perceptual = lpips_score(device) if options.lpips else None
    folder, inference = options.output / "measurements", shared.inference_options(options)
    with joined(device) as team:
        evaluator = TableEvaluator(folder, device, machine(device), inference, perceptual, team)
        todo = evaluator.find_pending(cells, required=sets)
        team.gather(None)  # all have read the measurements before one of them adds to them
        failed: list[str] = []
        try:
            failed = _measure(evaluator, todo)
        finally:  # also when interrupted: the same command resumes
            if team.leads:
                _write(options.output, file.stem, table, cells)
    if team.leads and not any(cell.measurements for cell in cells):
        log.warning("nothing was measured; the table says what is missing")
        return 1
    if team.leads and failed:
        raise UserError(f"images without scores in {'; '.join(failed)}; the rest is in the table")
    return 0


def _outputs(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}.{suffix}" for suffix in ("md", "csv", "tex", "json")]


def _is_own(file: Path, name: str) -> bool:
    """Return whether an earlier call wrote the results of this table, which are then updated."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and cast(dict[str, object], found).get("table") == name


def _write(folder: Path, name: str, table: TableConfig, cells: Sequence[TableCell]) -> None:
    found = table_report(table, cells)
    texts = [as_markdown(table, found), as_csv(found.records)]
    texts += [as_latex(table, found), as_json(name, table, found)]
    files = _outputs(folder, name)
    print(texts[0])
    write_all({file: text.encode() for file, text in zip(files, texts, strict=True)})
    log.info("wrote %s", ", ".join(map(str, files)))


def _measure(evaluator: TableEvaluator, todo: Sequence[PendingCell]) -> list[str]:
    """Measure what is left, and return the titles of the cells with images that failed."""
    total = sum(len(pending.pairs) for pending in todo)
    known = sum(len(pending.cell.measurements) for pending in todo)
    log.info("%d images to measure, %d measured before", total, known)
    with progress_bar(total=total, unit="image") as bar:
        for pending in todo:
            if not len(pending.pairs):
                continue
            bar.set_description(pending.cell.title)
            for _ in evaluator.measure(pending):
                bar.update()
            cell = pending.cell
            if cell.measurements:  # those of bicubic are known to one process only
                known = "" if cell.published is None else f", published {cell.published:.2f}"
                log.info("%s: PSNR %.4f dB%s", cell.title, cell.mean("psnr"), known)
    return [pending.cell.title for pending in todo if pending.cell.missing]


def _table_file(name: str) -> Path:
    file = Path(name) if name.endswith((".yaml", ".yml")) else TABLES / f"{name}.yaml"
    file = find_config(file)
    if file.exists():
        return file
    known = {path.stem for path in TABLES.glob("*.yaml")}
    known |= {path.stem for path in (shipped_folder() / "tables").glob("*.yaml")}
    raise UserError(f"--table {name}: no such table; available: {', '.join(sorted(known))}")


def _split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _scale(text: str) -> Scale:
    try:
        return typed.scale(text)
    except argparse.ArgumentTypeError:
        raise UserError(f"--scales {text}: must be numbers, e.g. 2,3,4") from None


def _checkpoints_of_rows(
    given: Sequence[NamedCheckpoint], cells: Sequence[TableCell]
) -> dict[str, Path]:
    """Return the files by run; a file without a name is that of the only one."""
    known = sorted({cell.run for cell in cells if cell.run})
    files: dict[str, Path] = {}
    for name, file in given:
        if not name and len(known) != 1:
            names = " or ".join(known) or "a configuration of a row"
            text = f"must be NAME=FILE, where NAME is {names}"
            raise UserError(f"--checkpoint {file}: {text}")
        files[name or known[0]] = resolve_checkpoint(file)
    return files
