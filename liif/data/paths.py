"""The folders of a data set on this machine, and how configurations name several."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic

from liif.core.section import Section
from liif.core.sizes import Scale


def data_path(root: str | None, path: str) -> Path:
    """Resolve a path of a configuration: absolute, `builtin:NAME` for the photographs in the
    package, or relative to the data root, which is `root`, else $LIIF_DATA, else datasets/."""
    if path.startswith("builtin:"):
        return Path(__file__).parent.parent / "photos" / path.removeprefix("builtin:")
    base = os.path.expanduser(root or os.environ.get("LIIF_DATA") or "datasets")
    return Path(base, os.path.expanduser(path))


class WeightedFolder(Section):
    """A folder in a list of folders of training images."""

    path: str
    weight: Annotated[int, pydantic.Field(ge=1, le=1000)] = 1
    """How many times each of its images is used in a pass over all folders."""
    exclude: Annotated[tuple[str, ...], pydantic.Field(exclude_if=lambda names: not names)] = ()
    """Files in it that are left out, by their paths in the folder, e.g. [photo.jpg]; those that are
    not there are named in a warning. It is dumped if it is not empty: a run that was saved before
    this key was added resumes."""


def _check_folders(value: object) -> object:
    """One line for what pydantic would report once for each alternative."""
    text = "must be a folder, or a list of folders, each a path or {path: FOLDER, weight: N}, "
    text += "N a whole number from 1 to 1000, also with exclude: [FILE, …]"
    if isinstance(value, str):
        return value
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(text)
    checked: list[object] = []
    for each in value:
        given: Any = each.model_dump() if isinstance(each, WeightedFolder) else each
        if isinstance(given, str):
            checked.append(given)
            continue
        is_folder = isinstance(given, Mapping) and isinstance(given.get("path"), str)
        weight = given.get("weight", 1) if is_folder else None
        exclude: Any = given.get("exclude", ()) if is_folder else None
        is_whole = type(weight) is int and 1 <= weight <= 1000
        are_names = isinstance(exclude, list | tuple) and all(type(n) is str for n in exclude)
        if not (is_whole and are_names) or given.keys() - {"path", "weight", "exclude"}:
            raise ValueError(f"{text}, not {given}")
        checked.append({**given, "exclude": tuple(exclude)})
    return tuple(checked)


ImageFolders = Annotated[
    str | tuple[str | WeightedFolder, ...], pydantic.BeforeValidator(_check_folders)
]
"""A folder, or several, of which some are used more often."""


def weighted_folders(images: str | Sequence[str | WeightedFolder]) -> list[WeightedFolder]:
    """Return the folders of a key of `ImageFolders`."""
    several = [images] if isinstance(images, str) else images
    return [WeightedFolder(path=each) if isinstance(each, str) else each for each in several]


def _check_by_scale(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    folders: dict[Any, Any] = dict(value) if isinstance(value, Mapping) else {}
    known = [str(k).isdecimal() and int(k) > 0 and type(v) is str for k, v in folders.items()]
    if not known or not all(known):
        raise ValueError(
            "must be a folder, or folders by whole scale such as {2: FOLDER, 3: FOLDER}"
        )
    return {int(scale): path for scale, path in folders.items()}


FoldersByScale = Annotated[str | dict[int, str], pydantic.BeforeValidator(_check_by_scale)]
"""A folder of low-resolution images, or one for each whole scale."""


def _check_lr_name(value: object) -> object:
    if value is None or (isinstance(value, str) and value.count("{}") == 1 and "/" not in value):
        return value
    raise ValueError('must be a name with {} for that of the high-resolution image, e.g. "{}x2"')


LowResolutionName = Annotated[str | None, pydantic.BeforeValidator(_check_lr_name)]
"""How low-resolution images are named."""


def published_folder(
    lr: str | Mapping[int, str] | None, lr_scales: Sequence[int], scale: Scale
) -> str | None:
    """Return the folder of the published low-resolution images of a scale; None without one.

    `lr` is a folder by scale, or one in which {scale} is replaced by the scale, for `lr_scales`.
    """
    y, x = scale
    if lr is None or y != x:
        return None
    if not isinstance(lr, str):
        return lr.get(int(y)) if y == int(y) else None
    return lr.replace("{scale}", f"{y:g}") if y in lr_scales else None


def named_folders(key: str, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Yield (dotted key, path) of all folders that a value of a configuration names."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, WeightedFolder):
        yield key, value.path
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from named_folders(f"{key}.{name}", each)
    elif isinstance(value, Sequence):
        for i, each in enumerate(value):
            yield from named_folders(f"{key}.{i}", each)
