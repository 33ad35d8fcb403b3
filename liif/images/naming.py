"""Which pictures are meant by what was typed, and where the result of each goes."""

import glob
import os
import string
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from liif.core.errors import UserError
from liif.core.sizes import OutputSpec, Size
from liif.images.formats import TARGETS
from liif.images.photo import SUFFIXES, photo_size
from liif.images.rgb8 import check_format, walk

FIELDS = ("stem", "suffix", "name", "folder", "scale", "width", "height")
"""What a name pattern may hold in braces; {folder} is the picture's own below the folder given."""

BESIDE = "{stem}-x{scale}{suffix}"
"""Where nothing is said."""


class Input(NamedTuple):
    """A picture to enlarge."""

    path: Path
    folder: Path
    """Of the picture, below the folder that was given; "." for a file that was."""


def inputs(names: Sequence[Path], besides: Path | None = None) -> list[Input]:
    """Files, pictures in folders and below them (not in `besides`, where results go), and what
    patterns such as photos/*.jpg match where no shell has seen to it; each once, in order.

    Raises:
        UserError: a folder or a pattern without pictures. A file that is missing is listed.
    """
    found: dict[str, Input] = {}
    for name in names:
        paths = [name]
        if not os.path.lexists(name) and glob.has_magic(str(name)):
            paths = [Path(match) for match in sorted(glob.glob(str(name), recursive=True))]
            if not paths:
                raise UserError(f"{name}: matches no file")
        for path in paths:
            new = _below(path, besides) if path.is_dir() else [Input(path, Path())]
            for each in new:
                found.setdefault(os.path.realpath(each.path), each)
    return list(found.values())


def _below(root: Path, besides: Path | None) -> list[Input]:
    skipped = None if besides is None else os.path.realpath(besides)
    found: list[Input] = []
    try:
        for folder, names in walk(root):
            if skipped is not None and os.path.realpath(folder) != os.path.realpath(root):
                inside = os.path.commonpath([os.path.realpath(folder), skipped]) == skipped
                names = [] if inside else names
            relative = Path(folder).relative_to(root)
            pictures = sorted(n for n in names if Path(n).suffix.lower() in SUFFIXES)
            found += [Input(Path(folder, name), relative) for name in pictures]
    except OSError as error:
        raise UserError(f"{root}: cannot list {error.filename}: {error.strerror}") from error
    if not found:
        raise UserError(f"{root}: no pictures here; looked for {' '.join(SUFFIXES)}")
    return found


class Output(NamedTuple):
    """Where results go: beside the pictures (neither is given), a file, a folder or a pattern."""

    file: Path | None = None
    folder: Path | None = None
    pattern: str | None = None

    def of(self, picture: Input, scale: tuple[float, float], size: Size) -> Path:
        """The result's path for a picture that is enlarged by `scale`, (y, x), to (H, W)."""
        if self.file is not None:
            return self.file
        path = picture.path
        suffix = path.suffix if path.suffix.lower() in TARGETS else ".png"
        if self.folder is not None:
            return self.folder / picture.folder / f"{path.stem}{suffix}"
        factors = list(dict.fromkeys(f"{factor:.4g}" for factor in scale))
        values = {
            "stem": path.stem, "suffix": suffix, "name": f"{path.stem}{suffix}",
            "folder": picture.folder, "scale": ",".join(factors), "width": size[1],
            "height": size[0],
        }  # fmt: skip
        if self.pattern is not None:
            return Path(os.path.normpath(self.pattern.format(**values)))
        return path.with_name(BESIDE.format(**values))


def output(text: str | None, given: Sequence[Path]) -> Output:
    """What --output means: a pattern if it has braces, a folder if it is one, ends in a slash, has
    no suffix, or several pictures can come; else a file.

    Raises:
        UserError: a pattern of other fields, several pictures for one file, a format not written.
    """
    if text is None:
        return Output()
    if "{" in text or "}" in text:
        return Output(pattern=_checked(text))
    path = Path(text)
    if path.is_dir() or text.endswith(("/", os.sep)) or not path.suffix:
        return Output(folder=path)
    if path.suffix.lower() not in TARGETS:
        raise UserError(f"{path}: cannot write this format; use one of {' '.join(TARGETS)}")
    if (
        len(given) != 1
        or given[0].is_dir()
        or (glob.has_magic(str(given[0])) and not given[0].exists())
    ):
        raise UserError(f"{path}: one file for several pictures; name a folder or a pattern")
    return Output(file=path)


def _checked(pattern: str) -> str:
    known = "{" + "} {".join(FIELDS) + "}"
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise UserError(f"--output {pattern}: {error}; {{{{ and }}}} stand for braces") from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in FIELDS or form or conversion):
            raise UserError(f"--output {pattern}: {{{field}}} is unknown; there are {known}")
    if not any(field in ("stem", "name") for _, field, _, _ in parts):
        raise UserError(f"--output {pattern}: all results would have one name; use {{stem}}")
    suffix = Path(pattern).suffix.lower()
    if not pattern.endswith(("{suffix}", "{name}")) and suffix not in TARGETS:
        raise UserError(f"--output {pattern}: must end in {{suffix}} or one of {' '.join(TARGETS)}")
    return pattern


class Job(NamedTuple):
    """One picture to do."""

    picture: Input
    target: Path
    size: Size
    """(H, W) of the result."""


class Plan(NamedTuple):
    """What is to do, what cannot be done and why, and how many pictures are done already."""

    jobs: list[Job]
    failures: list[str]
    done: int


def plan(pictures: Sequence[Input], where: Output, asked: OutputSpec, *, overwrite: bool) -> Plan:
    """From the headers of all pictures. Results never take the place of an input or of each other;
    beside the pictures, earlier results are told by their names, and are no inputs."""
    jobs: dict[str, Job] = {}
    failures: list[str] = []
    for picture in pictures:
        try:
            job = _job(picture, where, asked)
            place = os.path.join(os.path.realpath(job.target.parent), job.target.name)
            if place in jobs:
                raise UserError(f"{picture.path}: its result would be {job.target}, another's, too")
            jobs[place] = job
        except UserError as error:
            failures.append(str(error))
    sources = {os.path.realpath(picture.path): picture for picture in pictures}
    due: list[Job] = []
    done = 0
    for job in jobs.values():
        victim = sources.get(os.path.realpath(job.target))
        if where == Output() and os.path.realpath(job.picture.path) in jobs:
            continue
        if victim is not None and (where != Output() or victim == job.picture):
            failures.append(f"{job.target}: the result would take the place of an input")
        elif overwrite or not job.target.is_file():
            due.append(job)
        elif where.file is not None:
            failures.append(f"{job.target}: exists already; --overwrite takes its place")
        else:
            done += 1
    return Plan(due, failures, done)


def _job(picture: Input, where: Output, asked: OutputSpec) -> Job:
    h, w = photo_size(picture.path)
    _, _, height, width = asked.window((h, w), str(picture.path))
    size = asked.target((h, w))
    # As it was typed; what rounded sides make of it is no name for a file.
    scale = asked.scale or (size[0] / height, size[1] / width)
    target = where.of(picture, scale, size)
    check_format(target, size, TARGETS)
    return Job(picture, target, size)
