"""Find the input pictures of a command line and plan the outputs from their headers."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from liif.core.errors import UserError
from liif.core.sizes import OutputSpec, Size
from liif.images.naming import InputPicture, OutputPlace
from liif.images.photo import photo_size
from liif.images.rgb8 import check_format, walk
from liif.images.suffixes import SUFFIXES, TARGETS


def find_inputs(names: Sequence[Path], exclude: Path | None = None) -> list[InputPicture]:
    """Return the input pictures in order, each once. Raises UserError if a folder or a pattern has
    no pictures.

    Args:
        names: files, also missing ones; folders, with all pictures below them; and patterns such as
            photos/*.jpg, for shells that do not expand them.
        exclude: the output folder; its pictures are left out.
    """
    found: dict[str, InputPicture] = {}
    for name in names:
        paths = [name]
        if not os.path.lexists(name) and glob.has_magic(str(name)):
            paths = [Path(match) for match in sorted(glob.glob(str(name), recursive=True))]
            if not paths:
                raise UserError(f"{name}: matches no file")
        for path in paths:
            new = _below(path, exclude) if path.is_dir() else [InputPicture(path, Path())]
            for each in new:
                found.setdefault(os.path.realpath(each.path), each)
    return list(found.values())


def _below(root: Path, exclude: Path | None) -> list[InputPicture]:
    skipped = None if exclude is None else os.path.realpath(exclude)
    found: list[InputPicture] = []
    try:
        for folder, names in walk(root):
            real = os.path.realpath(folder)
            if skipped is not None and real != os.path.realpath(root):
                names = [] if os.path.commonpath([real, skipped]) == skipped else names
            relative = Path(folder).relative_to(root)
            pictures = sorted(n for n in names if Path(n).suffix.lower() in SUFFIXES)
            found += [InputPicture(Path(folder, name), relative) for name in pictures]
    except OSError as error:
        raise UserError(f"{root}: cannot list {error.filename}: {error.strerror}") from error
    if not found:
        raise UserError(f"{root}: no pictures here; looked for {' '.join(SUFFIXES)}")
    return found


class UpscaleJob(NamedTuple):
    """One picture to enlarge."""

    picture: InputPicture
    target: Path
    size: Size
    """(H, W) of the output."""


class UpscalePlan(NamedTuple):
    """The pictures to enlarge, a message for each that cannot be enlarged, and how many outputs
    exist already."""

    jobs: list[UpscaleJob]
    failures: list[str]
    done: int


def plan_jobs(
    pictures: Sequence[InputPicture], place: OutputPlace, spec: OutputSpec, *, overwrite: bool
) -> UpscalePlan:
    """Plan the outputs from the headers of all pictures.

    An output never replaces an input or another output. Beside the inputs, earlier outputs are
    recognized by their names and not enlarged again.
    """
    jobs: dict[str, UpscaleJob] = {}
    failures: list[str] = []
    for picture in pictures:
        try:
            job = _job(picture, place, spec)
            real_target = os.path.join(os.path.realpath(job.target.parent), job.target.name)
            if other := jobs.get(real_target):
                inputs = f"{other.picture.path} and {picture.path}"
                raise UserError(f"{inputs} would both be written to {job.target}")
            jobs[real_target] = job
        except UserError as error:
            failures.append(str(error))
    sources = {os.path.realpath(picture.path): picture for picture in pictures}
    is_beside = place == OutputPlace()
    due: list[UpscaleJob] = []
    done = 0
    for job in jobs.values():
        replaced = sources.get(os.path.realpath(job.target))
        if is_beside and os.path.realpath(job.picture.path) in jobs:
            continue
        if replaced is not None and (not is_beside or replaced == job.picture):
            failures.append(f"{job.target}: the output would replace an input; choose another name")
        elif overwrite or not job.target.is_file():
            due.append(job)
        elif place.file is not None:
            failures.append(f"{job.target}: exists already; use --overwrite to replace it")
        else:
            done += 1
    return UpscalePlan(due, failures, done)


def _job(picture: InputPicture, place: OutputPlace, spec: OutputSpec) -> UpscaleJob:
    h, w = photo_size(picture.path)
    _, _, height, width = spec.window((h, w), str(picture.path))
    size = spec.target((h, w))
    # Names have the scale as typed, not the one that results from rounded sides.
    scale = spec.scale or (size[0] / height, size[1] / width)
    target = place.path_for(picture, scale, size)
    check_format(target, size, TARGETS)
    return UpscaleJob(picture, target, size)
