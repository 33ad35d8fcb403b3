"""`liif data`: list and download data sets, check that the images that configurations name are
present and intact, or draw training samples of a configuration."""

import argparse
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from liif.commands import download, lr_sets
from liif.commands.arguments.shared import usage_error
from liif.commands.options import config_files
from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.core.outputs import check_outputs
from liif.core.progress import progress_bar
from liif.core.shipped import shipped_folder
from liif.core.threads import available_cores
from liif.data.catalog import find_part
from liif.data.loader import view_sample
from liif.data.paths import data_path
from liif.data.samplers import ViewableSource
from liif.evaluation.config import TestConfig
from liif.figures.preview import SampleTile, sample_sheet
from liif.figures.sheets import check_sheet, write_sheet
from liif.images.channels import RGB8, PixelFormat, read_header, read_pixels
from liif.images.rgb8 import list_images
from liif.training.config import TrainConfig

_ENDS = {".png": b"IEND", ".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9"}
"""Bytes near the end of a complete file, by suffix."""

MAX_SAMPLES = 1000
"""In a preview."""

States = dict[Path, tuple[bool, str]]
"""Whether a folder of images is usable, and what the check found there."""


def run(options: argparse.Namespace) -> int:
    if options.action == "list":
        return download.list_data_sets(as_json=options.json)
    actions = {"download": download.run, "check": _check, "preview": _preview, "lr": lr_sets.run}
    return actions[options.action](options)


def _preview(options: argparse.Namespace) -> int:
    """Write a sheet of the first training samples of a configuration."""
    if not 1 <= options.samples <= MAX_SAMPLES:
        text = f"--samples: must be from 1 to {MAX_SAMPLES}, not {options.samples}"
        raise usage_error("data preview", text)
    file: Path = options.config
    config = load_config(TrainConfig, file, options.set)
    _check_is_outside(options.output, config, options.data_root)
    check_outputs([options.output], config_files(file), overwrite=options.overwrite)
    check_sheet(options.output)
    channels = config.model.channels.input, config.model.channels.output
    source = config.train_data.open_source(options.data_root or config.data_root, channels)
    if not isinstance(source, ViewableSource):
        kind = config.train_data.sampling
        raise UserError(f"{file}: train_data.sampling: {kind} has no method view, to draw samples")
    samples: list[SampleTile] = []
    failures: dict[str, None] = {}
    for number in range(options.samples):
        try:
            index, view = view_sample(source, config.seed, number)
        except UserError as error:  # the image cannot be decoded
            failures[str(error)] = None
            continue
        scale = view.hr.shape[0] / view.lr.shape[0]
        caption = f"{number}: x{scale:.2f} {source.name(index)}"
        samples.append(SampleTile(view.lr, view.hr, [caption, "; ".join(view.words)]))
    listed = "\n  ".join(failures)
    if not samples:
        raise UserError(f"no sample can be drawn:\n  {listed}")
    write_sheet(options.output, sample_sheet(samples))
    print(f"{options.output}: {len(samples)} samples, low and high resolution side by side")
    if failures:
        lost = options.samples - len(samples)
        raise UserError(f"{lost} of {options.samples} samples cannot be drawn:\n  {listed}")
    return 0


def _check_is_outside(output: Path, config: TrainConfig, root: str | None) -> None:
    """Refuse a sheet in a folder of images, where it would replace one or be trained on."""
    for key, name in config.data_folders():
        folder = data_path(root or config.data_root, name)
        if output.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{output}: is in the folder of {key}; choose another folder")


def _check(options: argparse.Namespace) -> int:
    files = options.configs or sorted(Path("configs").glob("*.yaml"))
    files = files or sorted(shipped_folder().glob("*.yaml"))
    states: States = {}
    problems: dict[Path, list[str]] = {}
    for file in files:
        try:
            problems[file] = _problems(file, options.data_root, options.deep, states)
        except UserError as error:
            problems[file] = [str(error).replace("\n", "; ")]
    usable = [f"  {file}" for file in files if not problems[file]]
    not_usable = [f"  {file}: {', '.join(found)}" for file, found in problems.items() if found]
    print("\n".join([f"usable: {len(usable)} of {len(files)} configurations", *usable]))
    if not_usable:
        print("\n".join(["not usable:", *not_usable]))
    return 1 if not_usable else 0


def _problems(file: Path, root: str | None, deep: bool, states: States) -> list[str]:
    """Return the folders of a configuration that are not usable; print each folder once."""
    config = _load(file)
    root = root or config.data_root
    problems: list[str] = []
    for name in dict.fromkeys(_folders(config)):
        folder = data_path(root, name)
        if folder not in states:
            states[folder] = _examine(folder, name, root, deep)
            shown = name if name.startswith("builtin:") else folder
            print(f"{shown!s:44} {states[folder][1]}", flush=True)
        if not states[folder][0]:
            problems.append(name)
    if not problems and isinstance(config, TestConfig) and config.published_lr:
        config.model_copy(update={"data_root": root}).open_pairs()
    return problems


def _load(file: Path) -> TrainConfig | TestConfig:
    """Read a configuration of either kind. Raises the shorter of the two UserErrors: the wrong
    kind complains about more keys."""
    messages: list[str] = []
    for kind in (TrainConfig, TestConfig):
        try:
            return load_config(kind, file)
        except UserError as error:
            messages.append(str(error))
    raise UserError(min(messages, key=lambda text: text.count("\n")))


def _folders(config: TrainConfig | TestConfig) -> Iterator[str]:
    """Yield the folders of images that a configuration names."""
    if isinstance(config, TestConfig):
        yield from filter(None, (config.hr, config.published_lr))
    else:
        yield from (name for _, name in config.data_folders())


def _examine(folder: Path, name: str, root: str | None, deep: bool) -> tuple[bool, str]:
    known = find_part(name)
    command = "set LIIF_DATA, or use `--set data_root=DIR`, if it is elsewhere"
    if known:
        option = f" --data-root {shlex.quote(root)}" if root else ""
        command = f"`liif data download {known[0].name}{option}`"
    try:
        files = list_images(folder)
    except UserError as error:
        if folder.exists() and "no images here" not in str(error):
            return False, str(error)
        return False, f"missing: {command}"
    broken = _broken(files, deep)
    expected = (known[1] if known else None) or len(files)
    if broken:
        listed = "; ".join(broken[:5]) + ("; …" if len(broken) > 5 else "")
        remedy = f"; delete them, then {command}" if known else ""
        return False, f"damaged ({len(broken)} of {len(files)} images): {listed}{remedy}"
    if len(files) < expected:
        return False, f"incomplete ({len(files)} of {expected} images): {command}"
    more = f", {len(files) - expected} more than published" if len(files) > expected else ""
    return True, f"present ({len(files)} image{'s' * (len(files) > 1)}{more})"


def _broken(files: list[Path], deep: bool) -> list[str]:
    """Return an error message for every file that cannot be read."""

    def problem(file: Path) -> str | None:
        try:
            header = read_header(file)
            if (deep or not _looks_complete(file)) and header.bits != 32:
                is_rgb = 3 in header.channels
                read_pixels(file, RGB8 if is_rgb else PixelFormat(header.channels[0], header.bits))
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(min(8, available_cores())) as pool:
        found = pool.map(problem, files)
        return list(filter(None, progress_bar(found, total=len(files), unit="image", leave=False)))


def _looks_complete(file: Path) -> bool:
    """Whether the end of a file shows that it is complete."""
    with suppress(OSError), file.open("rb") as content:
        content.seek(max(file.stat().st_size - 1024, 0))
        return _ENDS.get(file.suffix.lower(), b"") in content.read()
    return False
