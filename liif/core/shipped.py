"""The configurations that come with the package: found by name, wherever a command runs."""

import difflib
import os
from pathlib import Path


def shipped_folder() -> Path:
    """Return the folder of the configurations: the copy in an installed package, else configs/ of
    the checkout that the package is in."""
    package = Path(__file__).parent.parent
    copy = package / "configs"
    return copy if copy.is_dir() else package.parent / "configs"


def shipped_configs() -> dict[str, Path]:
    """Return the files by name, the path in their folder without .yaml, e.g. edsr-liif."""
    folder = shipped_folder()
    return {
        file.relative_to(folder).with_suffix("").as_posix(): file
        for file in sorted(folder.rglob("*.yaml"))
    }


def find_config(path: Path) -> Path:
    """Return the file that is meant by a path: the path itself if it is a file, else the shipped
    configuration of this name, as edsr-liif, edsr-liif.yaml or configs/edsr-liif.yaml."""
    if os.path.isfile(path):
        return path
    return shipped_configs().get(_name(path), path)


def similar_configs(path: Path) -> list[str]:
    """Return what may have been meant by a path without a file: files beside it, and names of
    shipped configurations."""
    beside = {file.stem: str(file) for file in path.parent.glob("*.yaml")}
    known = {name: name for name in shipped_configs() if not name.startswith("base/")} | beside
    close = difflib.get_close_matches(_name(path), known, n=3, cutoff=0.75)
    return [known[name] for name in close]


def _name(path: Path) -> str:
    return path.as_posix().removeprefix("configs/").removesuffix(".yaml")
