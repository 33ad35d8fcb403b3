"""Find the input pictures of a command line and plan the outputs from their headers."""

import glob
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from liif.core.errors import UserError
from liif.core.outputs import FileSet, check_is_no_input, check_output
from liif.core.sizes import OutputSpec, Size
from liif.images.formats import LOSSY, writer_of
from liif.images.naming import InputPicture, OutputPlace
from liif.images.origin import OriginRecord, fingerprint, name_print, read_record
from liif.images.photo import photo_size
from liif.images.rgb8 import walk
from liif.images.suffixes import SUFFIXES, passed_over

log = logging.getLogger("liif")


class Inputs(NamedTuple):
    """The pictures of a command line, in order, each once; and a message for each name that leads
    to none."""

    pictures: list[InputPicture]
    failures: list[str]


def find_inputs(names: Sequence[Path], exclude: Path | None = None) -> Inputs:
    """Return the input pictures.

    Args:
        names: files, also missing ones; folders, with all pictures below them; and patterns such as
            photos/*.jpg, for shells that do not expand them.
        exclude: the output folder; its pictures are left out.
    """
    found: dict[str, InputPicture] = {}
    failures: list[str] = []
    for name in names:
        paths = [name]
        if not os.path.lexists(name) and glob.has_magic(str(name)):
            paths = [Path(match) for match in sorted(glob.glob(str(name), recursive=True))]
            if not paths:
                failures.append(f"{name}: matches no file")
        for path in paths:
            new = [InputPicture(path, Path())]
            if os.path.isdir(path):
                new = _below(path, exclude, failures)
            for each in new:
                found.setdefault(os.path.realpath(each.path), each)
    return Inputs(list(found.values()), failures)


def _below(root: Path, exclude: Path | None, failures: list[str]) -> list[InputPicture]:
    skipped = None if exclude is None else os.path.realpath(exclude)
    found: list[InputPicture] = []

    def fail(error: OSError) -> None:
        failures.append(f"{root}: cannot list {error.filename}: {error.strerror}")

    known, passed = len(failures), list[str]()
    for folder, names in walk(root, fail):
        real = os.path.realpath(folder)
        if skipped is not None and real != os.path.realpath(root):
            names = [] if os.path.commonpath([real, skipped]) == skipped else names
        relative = Path(folder).relative_to(root)
        pictures = sorted(n for n in names if Path(n).suffix.lower() in SUFFIXES)
        passed += names
        found += [InputPicture(Path(folder, name), relative) for name in pictures]
    if (line := passed_over(passed)) is not None:
        log.info("%s: %s", root, line)
    if not found and len(failures) == known:
        failures.append(f"{root}: no pictures here; looked for {' '.join(SUFFIXES)}")
    return found


class Making(NamedTuple):
    """What makes all results of a command, beside their inputs: two results of the same making and
    the same input are the same."""

    model: str
    """Hash of the checkpoint file."""
    spec: OutputSpec
    options: Mapping[str, Any]
    """Those that are not the default, as JSON values."""
    quality: int | None = None
    """Of formats with losses, 1 to 100."""

    def record(
        self, picture: Path, size: Size, scale: tuple[float, float], quality: int | None
    ) -> OriginRecord:
        """Return the record of a result of a picture of `size` (h, w). Raises OSError."""
        H, W = self.spec.target(size)
        y, x, h, w = self.spec.window(size)
        return {
            "model": self.model,
            "scale": list(scale),
            "size": [W, H],
            "part": None if (y, x, h, w) == (0, 0, *size) else [x, y, w, h],
            "options": {**self.options, **({"quality": quality} if quality else {})},
            "source": fingerprint(picture),
            "name": name_print(picture),
        }


class UpscaleJob(NamedTuple):
    """One picture to enlarge."""

    picture: InputPicture
    target: Path
    source_size: Size
    """(h, w) of the picture."""
    size: Size
    """(H, W) of the output."""
    record: OriginRecord
    """What makes the output, which is stored in it."""
    quality: int | None
    """Of the output, if its format has losses."""
    replaces: bool
    """Whether a file that exists is replaced."""


def pixels_of(job: UpscaleJob) -> int:
    """Return the number of pixels of a job's output."""
    return job.size[0] * job.size[1]


class UpscalePlan(NamedTuple):
    """The pictures to enlarge, and what becomes of the others."""

    jobs: list[UpscaleJob]
    failures: list[str]
    """A message for each picture that cannot be enlarged, or whose output is stale."""
    done: int
    """Number of outputs that exist and are up to date."""
    own: list[Path]
    """Inputs that are results of other inputs, which are passed over."""


def plan_jobs(
    pictures: Sequence[InputPicture], place: OutputPlace, making: Making, *, overwrite: bool
) -> UpscalePlan:
    """Plan the outputs from the headers of all pictures. Nothing that is wrong with one of them
    stops the others.

    An output never replaces an input or another output, and, unless `overwrite`, no file that
    exists. Where it has the same making and is not older than its input, it is done.
    """
    own = _own_results(pictures)
    due = [picture for picture in pictures if picture.path not in own]
    inputs, targets = FileSet(picture.path for picture in due), dict[str, UpscaleJob]()
    plan = UpscalePlan([], [], 0, own)
    done = 0
    for picture in due:
        try:
            job = _job(picture, place, making, replaces=overwrite)
            check_is_no_input(job.target, inputs)
            real_target = os.path.join(os.path.realpath(job.target.parent), job.target.name)
            if (other := targets.setdefault(real_target, job)) is not job:
                both = f"{other.picture.path} and {picture.path}"
                raise UserError(f"{both} would both be written to {job.target}")
            if not overwrite and os.path.isfile(job.target) and place.file is None:
                if (reason := staleness(job)) is not None:
                    text = f"{job.target}: exists already, but {reason}; --overwrite replaces it"
                    raise UserError(text)
                done += 1
                continue
            check_output(job.target, overwrite=overwrite)
            plan.jobs.append(job)
        except UserError as error:
            plan.failures.append(str(error))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            plan.failures.append(f"{picture.path}: {reason}")
    return plan._replace(done=done)


def _own_results(pictures: Sequence[InputPicture]) -> list[Path]:
    """Return the pictures that are results of another of the pictures: of one of the same content,
    or, after that has changed, of the same name in the same folder."""
    records = {each.path: found for each in pictures if (found := read_record(each.path))}
    if not records:
        return []
    contents: set[str] = set()
    places: set[tuple[str, str]] = set()
    for each in pictures:
        places.add((os.path.realpath(each.path.parent), name_print(each.path)))
        try:
            contents.add(fingerprint(each.path))
        except OSError:  # reported when it is read
            continue
    own: list[Path] = []
    for path, record in records.items():
        place = os.path.realpath(path.parent), record.get("name")
        is_beside = place in places and record.get("name") != name_print(path)
        if record.get("source") in contents or is_beside:
            own.append(path)
    return own


def staleness(job: UpscaleJob) -> str | None:
    """Return why an existing output is not the one that a job would write, as the end of a
    sentence; None if it is. Raises OSError."""
    record = read_record(job.target)
    if record is None:
        return "nothing in it says what made it"
    if record.get("size") != job.record["size"]:
        W, H = job.record["size"]
        found = "×".join(map(str, record.get("size") or ["?"]))
        return f"has {found} px instead of {W}×{H}"
    if record.get("part") != job.record["part"]:
        return "shows another part of the picture"
    if record.get("source") != job.record["source"]:
        return f"was made from another {job.picture.path.name}"
    if record.get("model") != job.record["model"]:
        return "was made with another model"
    if difference := _difference(record.get("options"), job.record["options"]):
        return f"was made with {difference}"
    if os.stat(job.target).st_mtime_ns < os.stat(job.picture.path).st_mtime_ns:
        return f"is older than {job.picture.path.name}"
    return None


def _difference(old: object, new: Mapping[str, Any]) -> str:
    before = cast(Mapping[str, Any], old) if isinstance(old, Mapping) else {}
    return ", ".join(
        f"{key} {before.get(key, 'by default')} instead of {new.get(key, 'the default')}"
        for key in sorted({*before, *new})
        if before.get(key) != new.get(key)
    )


def _job(
    picture: InputPicture, place: OutputPlace, making: Making, *, replaces: bool
) -> UpscaleJob:
    source_size, spec = photo_size(picture.path), making.spec
    spec.window(source_size, str(picture.path))  # raises for a part that is not there
    size, scale = spec.target(source_size), spec.factors(source_size)
    target = place.path_for(picture, scale, size)
    form, _ = writer_of(target, size, making.quality if place.file is not None else None)
    quality = making.quality if form in LOSSY else None
    record = making.record(picture.path, source_size, scale, quality)
    return UpscaleJob(picture, target, source_size, size, record, quality, replaces)
