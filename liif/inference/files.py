"""Enlarge picture files one after another, with a progress bar and an estimate of the time."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from liif.core.distributed import Team
from liif.core.errors import UserError
from liif.core.files import format_bytes
from liif.core.host_memory import available_memory
from liif.core.memory import is_out_of_memory
from liif.core.outputs import FileSet
from liif.core.progress import progress_bar
from liif.core.sizes import OutputSpec
from liif.images import formats
from liif.images.channels import read_frames
from liif.images.formats import Layout, PageOutput, layout_for
from liif.images.jobs import UpscaleJob, pixels_of
from liif.images.photo import Photo
from liif.images.png import ImageArray
from liif.inference.enlarge import enlarge_photo
from liif.inference.predict import InferenceOptions
from liif.inference.work import WorkMeter, in_words
from liif.models.model import SRModel

Bar = tqdm  # only the stubs make it generic: tqdm[...] fails at run time

LONG_SECONDS = 10
"""Seconds above which the time is stated after the first blocks."""

log = logging.getLogger("liif")


@dataclass
class _Work:
    """What all pictures are enlarged with, and how much of it is left."""

    team: Team
    model: SRModel
    spec: OutputSpec
    inference: InferenceOptions
    bits: int | None
    pixels_left: int
    """Pixels of the results that are not written yet."""
    written: FileSet = field(default_factory=FileSet)
    is_estimated: bool = False
    """Whether the time was estimated."""


def enlarge_files(
    jobs: Sequence[UpscaleJob], model: SRModel, spec: OutputSpec, inference: InferenceOptions,
    bits: int | None, team: Team,
) -> list[str]:  # fmt: skip
    """Enlarge all pictures and return the errors: one that fails stops none of the others. The time
    that all take is logged, if it is long, when the first blocks are done."""
    failures: list[str] = []
    work = _Work(team, model, spec, inference, bits, sum(map(pixels_of, jobs)))
    with progress_bar(total=work.pixels_left, unit="px", unit_scale=True, smoothing=0.1) as bar:
        for job in jobs:
            begun, total = bar.n, bar.total
            try:
                _enlarge(work, job, bar)
            except UserError as error:
                failures.append(str(error))
            except Exception as error:
                if work.team.size > 1:  # the other processes wait for this one
                    raise
                failures.append(f"{job.picture.path}: {_reason(error)}")
            else:
                log.info("%s: %d×%d px", job.target, job.size[1], job.size[0])
                continue
            finally:
                whole = bar.total - total + pixels_of(job)  # with all frames
                bar.update(begun + whole - bar.n)
                work.pixels_left -= whole
            if len(jobs) > 1:
                log.error("failed: %s", failures[-1])
    return failures


def _reason(error: Exception) -> str:
    if is_out_of_memory(error):
        return f"not enough memory: {error}; try --memory 500M, or a result in .png or .tif"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"{type(error).__name__}: {error}"


def _enlarge(work: _Work, job: UpscaleJob, bar: Bar) -> None:
    """Enlarge one picture, all frames of an animation or all pages of a document. Raises
    UserError."""
    team, channels = work.team, work.model.channels
    frames = _read_in_step(team, job.picture.path, channels.input)
    first = next(frames)
    is_moving = first.frames > 1 and not first.is_page and formats.holds_animation(job.target)
    is_document = first.is_page and formats.holds_pages(job.target)
    count = None if channels.output == channels.input else channels.output
    bar.set_description(job.picture.path.name)
    further = (first.frames - 1) * pixels_of(job) if is_moving or is_document else 0
    bar.total += further
    work.pixels_left += further
    if team.size == 1:  # a failure in one of several processes would keep the others waiting
        _check_is_free(work, job)
    if is_moving:
        _check_frames_fit(job, first.frames)

    def layout_of(photo: Photo) -> Layout:
        layout = layout_for(job.target, work.spec.target(photo.size), photo, work.bits, count)
        return Layout(4, 8) if is_moving else layout

    def page(photo: Photo) -> PageOutput:
        size, window = work.spec.target(photo.size), work.spec.window(photo.size)
        return PageOutput(size, layout_of(photo), strips(photo), photo, window)

    def strips(photo: Photo) -> Iterator[ImageArray]:
        layout = layout_of(photo)
        watch = _meter(work, job, photo, layout, bar) if team.size == 1 else None
        end = bar.n + pixels_of(job)
        for strip in enlarge_photo(
            work.model, photo, work.spec, layout, work.inference, team, watch
        ):
            yield strip
            if watch is None:
                bar.update(strip.shape[0] * strip.shape[1])
        bar.update(end - bar.n)

    photos = chain([first], frames) if is_moving or is_document else [first]
    options: dict[str, Any] = {"quality": job.quality, "record": job.record}
    options["window"] = work.spec.window(first.size)
    if not team.leads:
        for photo in photos:
            list(strips(photo))
        return
    if is_moving:
        animation = ((np.concatenate(list(strips(photo))), photo) for photo in photos)
        formats.write_animation(job.target, job.size, animation, **options)
    elif is_document:
        formats.write_pages(job.target, map(page, photos), job.record)
    else:
        layout = layout_of(first)
        if first.frames > 1:
            kind, suffix = ("pages", ".tif") if first.is_page else ("frames", ".webp")
            text = "%s: first of %d %s only; %s holds them all"
            log.warning(text, job.target, first.frames, kind, suffix)
        if layout.bits < first.bits and work.bits is None:
            text = "%s: reduced from %d to 8 bits; .png and .tif keep them"
            log.warning(text, job.target, first.bits)
        result = strips(first)
        try:
            formats.write_photo(job.target, job.size, layout, result, first, **options)
        except UserError:
            if team.size > 1:
                list(result)  # receive what the other processes have sent
            raise
    work.written.add(job.target)


def _check_is_free(work: _Work, job: UpscaleJob) -> None:
    """Raise UserError if the name of the output leads to that of another picture, as it may on a
    disk that ignores case, or to a file that was not there before."""
    if work.written.has_same_file(job.target):
        text = f"{job.target}: is the result of another picture; this disk takes the names for one"
        raise UserError(text)
    if not job.replaces and os.path.lexists(job.target):
        raise UserError(f"{job.target}: exists since the work began; --overwrite replaces it")


def _check_frames_fit(job: UpscaleJob, frames: int) -> None:
    """Raise UserError if memory does not hold all frames of an animation, which are written
    together: 4 bytes per pixel, and as many in the encoder."""
    needed, available = 8 * frames * pixels_of(job), available_memory()
    if available is not None and needed > available:
        H, W = job.size
        raise UserError(
            f"{job.target}: {frames} frames of {W}×{H} px need about {format_bytes(needed)} of "
            f"memory, and {format_bytes(available)} are available; enlarge less"
        )


def _meter(work: _Work, job: UpscaleJob, photo: Photo, layout: Layout, bar: Bar) -> WorkMeter:
    """Return what moves the progress bar, and logs the time once when it is long."""

    def progress(gain: float) -> None:
        bar.update(round(gain * pixels_of(job)))
        if not work.is_estimated and (seconds := meter.estimate) is not None:
            work.is_estimated = True
            seconds *= work.pixels_left / pixels_of(job)
            if seconds > LONG_SECONDS:
                log.info("about %s in all", in_words(seconds))

    passes = 2 if photo.alpha is not None and layout.has_alpha else 1
    _, _, h, w = work.spec.window(job.source_size)
    meter = WorkMeter((round(h), round(w)), job.size, work.inference, passes, progress)
    return meter


def _read_in_step(team: Team, path: Path, channels: int) -> Iterator[Photo]:
    """Like `read_frames`, but raises in all processes if it fails in one."""
    photos = read_frames(path, channels)
    while True:
        photo = error = None
        try:
            photo = next(photos, None)
        except UserError as failure:
            error = failure
        if team.any(error is not None):
            raise error or UserError(f"{path}: another process cannot read it")
        if photo is None:
            return
        yield photo
