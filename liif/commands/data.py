"""`liif data check`: what of the data that configurations name is there, and whole."""

import argparse
import os
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.core.progress import progress_bar
from liif.data.catalog import find_folder
from liif.data.pairs import open_pairs
from liif.data.paths import data_path
from liif.evaluation.config import TestConfig
from liif.images.rgb8 import image_size, list_images, read_image
from liif.training.config import TrainConfig

SUMMARY = "Check that the data of configurations is there and whole."
EXAMPLE = "check configs/edsr-liif.yaml"

_ENDS = {".png": b"IEND", ".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9"}
"""What stands near the end of a file that is not cut off."""


class State(NamedTuple):
    """What was found at one place."""

    is_whole: bool
    text: str


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["check"], help="the only one so far")
    text = "configurations of trainings and tests (default: configs/*.yaml)"
    parser.add_argument("configs", nargs="*", type=Path, metavar="CONFIG.yaml", help=text)
    text = "instead of the configurations' own, $LIIF_DATA and datasets/"
    parser.add_argument("--data-root", metavar="DIR", help=text)
    text = "decode every image, instead of reading its header and its end"
    parser.add_argument("--deep", action="store_true", help=text)


def run(options: argparse.Namespace) -> int:
    files = options.configs or sorted(Path("configs").glob("*.yaml"))
    if not files:
        raise UserError("configs/: no configurations here; name some: liif data check FILE.yaml …")
    states: dict[Path, State] = {}
    usable: list[str] = []
    not_usable: list[str] = []
    for file in files:
        try:
            problems = _problems(file, options.data_root, options.deep, states)
        except UserError as error:
            problems = [str(error).replace("\n", "; ")]
        if problems:
            not_usable.append(f"  {file}: {', '.join(problems)}")
        else:
            usable.append(f"  {file}")
    print("\n".join([f"usable: {len(usable)} of {len(files)} configurations", *usable]))
    if not_usable:
        print("\n".join(["not usable:", *not_usable]))
    return 1 if not_usable else 0


def _problems(file: Path, root: str | None, deep: bool, states: dict[Path, State]) -> list[str]:
    """The places that a configuration needs and that are not whole. Prints each when it is new."""
    config = _load(file)
    root = root or config.data_root
    problems: list[str] = []
    for name in dict.fromkeys(_places(config)):
        place = data_path(root, name)
        if place not in states:
            states[place] = _examine(place, name, root, deep)
            shown = name if name.startswith("builtin:") else place
            print(f"{shown!s:44} {states[place].text}", flush=True)
        if not states[place].is_whole:
            problems.append(name)
    if not problems and isinstance(config, TestConfig) and (lr := config.published_lr):
        open_pairs(data_path(root, config.hr), scale=config.scale, lr=data_path(root, lr))
    return problems


def _load(file: Path) -> TrainConfig | TestConfig:
    """A configuration of either kind. Of two complaints, the shorter one knows its keys better."""
    complaints: list[str] = []
    for kind in (TrainConfig, TestConfig):
        try:
            return load_config(kind, file)
        except UserError as error:
            complaints.append(str(error))
    raise UserError(min(complaints, key=lambda text: text.count("\n")))


def _places(config: TrainConfig | TestConfig) -> Iterator[str]:
    sections = (
        [config]
        if isinstance(config, TestConfig)
        else [config.train_data, config.valid, config.test]
    )
    for section in sections:
        for key in ("images", "hr", "published_lr" if isinstance(config, TestConfig) else "lr"):
            if place := getattr(section, key, None):
                yield place


def _examine(place: Path, name: str, root: str | None, deep: bool) -> State:
    known = find_folder(name)
    command = "`--set data_root=DIR` or LIIF_DATA points to other places"
    if known:
        where = f" --data-root {shlex.quote(root)}" if root else ""
        command = f"`liif download {known[0].name}{where}`"
    try:
        files = list_images(place)
    except UserError as error:
        if place.exists() and "no images here" not in str(error):
            return State(False, str(error))
        return State(False, f"missing: {command}")
    broken = _broken(files, deep)
    expected = (known[1] if known else None) or len(files)
    if broken:
        listed = "; ".join(broken[:5]) + ("; …" if len(broken) > 5 else "")
        mend = f"; delete them, then {command}" if known else ""
        return State(False, f"damaged ({len(broken)} of {len(files)} images): {listed}{mend}")
    if len(files) < expected:
        return State(False, f"incomplete ({len(files)} of {expected} images): {command}")
    more = f", {len(files) - expected} more than published" if len(files) > expected else ""
    return State(True, f"present ({len(files)} image{'s' * (len(files) > 1)}{more})")


def _broken(files: list[Path], deep: bool) -> list[str]:
    """A line for every file that cannot be used."""

    def complaint(file: Path) -> str | None:
        try:
            if deep or not _ends_well(file):
                read_image(file)
            else:
                image_size(file)
        except UserError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(complaint, files)
        bar = progress_bar(found, total=len(files), unit="image", leave=False)
        return [line for line in bar if line is not None]


def _ends_well(file: Path) -> bool:
    """Whether nothing speaks for a file being cut off."""
    end = _ENDS.get(file.suffix.lower(), b"")
    try:
        with file.open("rb") as content:
            content.seek(max(file.stat().st_size - 1024, 0))
            return end in content.read()
    except OSError:
        return False
