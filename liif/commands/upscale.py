"""`liif upscale`: enlarge photographs, folders of them and animations to any size."""

import argparse
import glob
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from liif.commands import options as shared
from liif.commands.arguments.shared import usage_error
from liif.commands.device import select_device
from liif.core.distributed import Team, joined
from liif.core.errors import UserError
from liif.core.outputs import check_output, check_outputs
from liif.core.progress import progress_bar
from liif.core.sizes import OutputSpec
from liif.figures.compare import comparison
from liif.hub.pretrained import load
from liif.images import formats
from liif.images.channels import read_frames
from liif.images.formats import Layout, layout_for
from liif.images.jobs import UpscaleJob, UpscalePlan, find_inputs, plan_jobs
from liif.images.naming import InputPicture, parse_output
from liif.images.photo import Photo, photo_size, read_photo
from liif.images.png import ImageArray
from liif.images.rgb8 import write_image
from liif.inference.enlarge import enlarge_photo
from liif.models.channels import Channels
from liif.models.model import SRModel

Bar = tqdm  # only the stubs make it generic: tqdm[...] fails at run time
EnlargeStrips = Callable[[Photo, Layout], Iterator[ImageArray]]

log = logging.getLogger("liif")


def run(options: argparse.Namespace) -> int:
    inference, spec = shared.inference_options(options), _output_spec(options)
    device = select_device(options.device)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # our errors say what is damaged
    with joined(device) as team:
        paths: list[Path] = options.input
        _check_second_path(paths, options.output)
        where = parse_output(options.output, paths)
        pictures = find_inputs(paths, where.folder)
        if options.compare:
            _check_comparison(options, pictures)
        planned = UpscalePlan([], [], 0)
        if options.output is not None or not options.compare:
            planned = plan_jobs(pictures, where, spec, overwrite=options.overwrite)
            planned = _without_unwritable(planned)
        jobs, failures, done = team.gather(planned)[0]
        if jobs or options.compare:
            model = load(options.checkpoint, device)
            if options.compare:
                shared.check_is_rgb(model, "--compare")
            if options.compare and team.leads:
                _compare(options, pictures[0].path, model, spec)

            def enlarge(photo: Photo, layout: Layout) -> Iterator[ImageArray]:
                return enlarge_photo(model, photo, spec, layout, inference, team)

            failures += _enlarge_all(team, jobs, options.bits, model.channels, enlarge)
        return _report(failures, done, len(pictures))


def _check_second_path(paths: Sequence[Path], place: str | None) -> None:
    """Raise UserError where a path looks like the name of a result given without -o."""
    last = paths[-1]
    is_pair = place is None and len(paths) == 2
    if is_pair and not os.path.lexists(last) and not glob.has_magic(str(last)):
        raise UserError(f"{last}: no such input; to name the result, use -o {last}")


def _output_spec(options: argparse.Namespace) -> OutputSpec:
    size, width, height = options.size, options.width, options.height
    given = sum(each is not None for each in (options.scale, size, width, height))
    is_that_of_reference = options.compare and options.reference and not given
    if given != 1 and not is_that_of_reference:
        text = "give one of --scale, --size, --width and --height"
        raise usage_error("upscale", text)
    if not options.compare and (options.box or options.reference):
        raise usage_error("upscale", "--box and --reference require --compare")
    if options.compare and options.crop:
        text = "--compare and --crop exclude each other; use --box"
        raise usage_error("upscale", text)
    if is_that_of_reference:
        size = photo_size(options.reference)
    height, width = size or (height, width)
    return OutputSpec(options.scale, height, width, options.crop)


def _check_comparison(options: argparse.Namespace, pictures: Sequence[InputPicture]) -> None:
    """Raise UserError for several inputs and for a sheet that must not or cannot be written."""
    if len(pictures) != 1:
        raise UserError(f"--compare: takes one image, not {len(pictures)}")
    inputs = [pictures[0].path, options.reference, options.checkpoint]
    check_outputs([options.compare], inputs, overwrite=options.overwrite)


def _without_unwritable(planned: UpscalePlan) -> UpscalePlan:
    """Move jobs whose target cannot be written to the failures."""
    jobs, failures = list(planned.jobs), list(planned.failures)
    for job in planned.jobs:
        try:
            check_output(job.target, overwrite=True)
        except UserError as error:
            failures.append(str(error))
            jobs.remove(job)
    return UpscalePlan(jobs, failures, planned.done)


def _enlarge_all(
    team: Team,
    jobs: Sequence[UpscaleJob],
    bits: int | None,
    channels: Channels,
    enlarge: EnlargeStrips,
) -> list[str]:
    """Enlarge all pictures and return the errors."""
    failures: list[str] = []
    total = sum(job.size[0] * job.size[1] for job in jobs)
    with progress_bar(total=total, unit="px", unit_scale=True) as bar:
        for job in jobs:
            try:
                _enlarge(team, job, bits, channels, enlarge, bar)
            except UserError as error:
                failures.append(str(error))
                if len(jobs) > 1:
                    log.error("failed: %s", error)
    return failures


def _enlarge(
    team: Team,
    job: UpscaleJob,
    bits: int | None,
    channels: Channels,
    enlarge: EnlargeStrips,
    bar: Bar,
) -> None:
    """Enlarge one picture, or all frames of an animation. Raises UserError."""
    frames = _read_in_step(team, job.picture.path, channels.input)
    first = next(frames)
    is_moving = first.frames > 1 and not first.is_page and formats.holds_animation(job.target)
    count = None if channels.output == channels.input else channels.output
    layout = Layout(4, 8) if is_moving else layout_for(job.target, job.size, first, bits, count)
    bar.set_description(job.picture.path.name)
    bar.total += (first.frames - 1) * job.size[0] * job.size[1] if is_moving else 0

    def strips(photo: Photo) -> Iterator[ImageArray]:
        for strip in enlarge(photo, layout):
            yield strip
            bar.update(strip.shape[0] * strip.shape[1])

    photos = chain([first], frames) if is_moving else [first]
    if not team.leads:
        for photo in photos:
            list(strips(photo))
    elif is_moving:
        animation = ((np.concatenate(list(strips(photo))), photo) for photo in photos)
        formats.write_animation(job.target, job.size, animation)
    else:
        if first.frames > 1:
            log.warning("%s: first of %d frames only", job.target, first.frames)
        if layout.bits < first.bits and bits is None:
            text = "%s: reduced from %d to 8 bits; .png and .tif keep them"
            log.warning(text, job.target, first.bits)
        result = strips(first)
        try:
            formats.write_photo(job.target, job.size, layout, result, first)
        except UserError:
            if team.size > 1:
                list(result)  # receive what the other processes have sent
            raise
    log.info("%s: %d×%d px", job.target, job.size[1], job.size[0])


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


def _report(failures: Sequence[str], done: int, count: int) -> int:
    if done:
        log.info("%d of %d exist already and were skipped; --overwrite replaces them", done, count)
    if failures and count == 1:
        raise UserError(failures[0])
    if failures:
        listed = "".join("\n  " + failure.replace("\n", "\\n") for failure in failures)
        raise UserError(f"{len(failures)} of {count} pictures failed:{listed}")
    return 0


def _compare(options: argparse.Namespace, path: Path, model: SRModel, spec: OutputSpec) -> None:
    photo = next(read_photo(path))
    reference = next(read_photo(options.reference)) if options.reference else None
    inference = shared.inference_options(options)
    size = spec.target(photo.size)
    sheet, scores = comparison(model, photo, size, path.name, options.box, reference, inference)
    write_image(options.compare, sheet)
    log.info("%s: %s", options.compare, scores)
