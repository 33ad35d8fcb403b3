"""`liif upscale`: pictures in, pictures of any size out."""

import argparse
import glob
import logging
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from liif.commands.device import device_argument, select_device
from liif.commands.options import (
    check_target,
    checkpoint_argument,
    inference_arguments,
    inference_options,
)
from liif.commands.typed import box, crop, scale, side, size
from liif.core.distributed import Team, joined
from liif.core.errors import UserError
from liif.core.progress import progress_bar
from liif.core.sizes import OutputSpec
from liif.figures.compare import comparison
from liif.hub.catalog import DEFAULT
from liif.hub.pretrained import load
from liif.images.formats import (
    TARGETS,
    Layout,
    holds_animation,
    layout_for,
    write_animation,
    write_photo,
)
from liif.images.naming import BESIDE, FIELDS, Input, Job, Plan, inputs, output, plan
from liif.images.photo import Photo, photo_size, read_photo
from liif.images.png import Samples
from liif.images.rgb8 import write_image
from liif.inference.enlarge import enlarged
from liif.inference.predict import InferenceOptions
from liif.models.model import SRModel

SUMMARY = "Enlarge pictures to any size."
EXAMPLE = "photo.jpg large.png --scale 3.7"

Bar = tqdm  # its type takes a parameter for type checkers only
log = logging.getLogger("liif")


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "pictures, folders of them (with all below) and patterns such as 'photos/*.jpg'. Of two "
    text += "paths without --output the second is the result's, if nothing is there yet"
    parser.add_argument("input", nargs="+", help=text)
    text = "a file; a folder (it exists, ends in / or has no suffix), in which results keep their "
    text += "names; or a pattern of {%s} (default: %s, beside the picture). The suffix chooses the "
    text += "format: %s. What is there already counts as done"
    text %= "}, {".join(FIELDS), BESIDE, " ".join(TARGETS)
    parser.add_argument("--output", metavar="PLACE", help=text)
    text = "make anew what is there already; never a picture that is an input"
    parser.add_argument("--overwrite", action="store_true", help=text)
    device_argument(parser)
    checkpoint_argument(parser, DEFAULT)
    text = "factor (height, width); where it is 1 or less, that side is reduced by antialiased "
    text += "bicubic instead of the model"
    parser.add_argument("--scale", type=scale, metavar="S or SY,SX", help=text)
    parser.add_argument("--size", type=size, metavar="WxH", help="size of the result in pixels")
    parser.add_argument("--width", type=side, metavar="N", help="its width; height in proportion")
    parser.add_argument("--height", type=side, metavar="N", help="its height; width in proportion")
    text = "only this part of the picture (upright), in its own pixels, fractions included"
    parser.add_argument("--crop", type=crop, metavar="X,Y,W,H", help=text)
    text = "bits per channel (default: the picture's own where the format holds them)"
    parser.add_argument("--bits", type=int, choices=(8, 16), help=text)
    inference_arguments(parser)
    text = "write a picture of parts of the input beside bicubic and the model; without --output "
    text += "nothing else is written"
    parser.add_argument("--compare", type=Path, metavar="FILE.png", help=text)
    text = (
        "a part to compare, in the input's pixels; repeat it for more (default: chosen by detail)"
    )
    parser.add_argument("--box", type=box, action="append", metavar="X,Y,W,H", help=text)
    text = "what the result should be, for --compare: shown beside, with PSNR; gives the size, too"
    parser.add_argument("--reference", type=Path, metavar="HR.png", help=text)


def run(options: argparse.Namespace) -> int:
    by, asked = inference_options(options), _asked(options)
    device = select_device(options.device)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is damaged is told in our words
    with joined(device) as team:
        paths, place = _paths(options)
        where = output(place, paths)
        pictures = inputs(paths, where.folder)
        if options.compare:
            check_target(options.compare)
        planned = Plan([], [], 0)
        if place is not None or not options.compare:
            planned = _possible(plan(pictures, where, asked, overwrite=options.overwrite))
        jobs, failures, done = team.gather(planned)[0]
        if jobs or options.compare:
            model = load(options.checkpoint, device)
            if options.compare:
                _compare(options, pictures, model, asked, by, team)
            failures += _do_all(team, model, jobs, asked, options.bits, by)
        return _told(failures, done, len(pictures))


def _paths(options: argparse.Namespace) -> tuple[list[Path], str | None]:
    """What is to be enlarged, and where to."""
    names: list[str] = options.input
    paths = [Path(name) for name in names]
    if options.output is not None or len(names) != 2:
        return paths, options.output
    if os.path.lexists(names[1]):
        kind = "is a folder" if paths[1].is_dir() else "exists"
        raise UserError(
            f"{names[1]}: {kind} already; for the result there, say --output {names[1]}, with "
            "--overwrite for a file; to enlarge it as well, say with --output where to"
        )
    return (paths, None) if glob.has_magic(names[1]) else (paths[:1], names[1])


def _asked(options: argparse.Namespace) -> OutputSpec:
    size, width, height = options.size, options.width, options.height
    given = [options.scale, size, width, height]
    if sum(each is not None for each in given) != 1 and not (
        options.compare and options.reference and given == [None] * 4
    ):
        raise UserError("give one of --scale, --size, --width and --height")
    if not options.compare and (options.box or options.reference):
        raise UserError("--box and --reference belong to --compare")
    if options.compare and options.crop:
        raise UserError("--compare takes --box instead of --crop")
    if options.reference and given == [None] * 4:
        size = photo_size(options.reference)
    height, width = size or (height, width)
    return OutputSpec(options.scale, height, width, options.crop)


def _possible(planned: Plan) -> Plan:
    """Without what cannot be written."""
    jobs, failures = list(planned.jobs), list(planned.failures)
    for job in planned.jobs:
        try:
            check_target(job.target)
        except UserError as error:
            failures.append(str(error))
            jobs.remove(job)
    return Plan(jobs, failures, planned.done)


def _do_all(
    team: Team,
    model: SRModel,
    jobs: Sequence[Job],
    asked: OutputSpec,
    bits: int | None,
    by: InferenceOptions,
) -> list[str]:
    """What went wrong."""
    failures: list[str] = []
    total = sum(job.size[0] * job.size[1] for job in jobs)
    with progress_bar(total=total, unit="px", unit_scale=True) as bar:
        for job in jobs:
            try:
                _do(team, model, job, asked, bits, by, bar)
            except UserError as error:
                failures.append(str(error))
                if len(jobs) > 1:
                    log.error("failed: %s", error)
    return failures


def _do(
    team: Team,
    model: SRModel,
    job: Job,
    asked: OutputSpec,
    bits: int | None,
    by: InferenceOptions,
    bar: Bar,
) -> None:
    """Enlarge one picture, or all frames of an animation. Raises UserError."""
    frames = _agreed(team, job.picture.path)
    first = next(frames)
    is_moving = first.frames > 1 and holds_animation(job.target)
    layout = Layout(4, 8) if is_moving else layout_for(job.target, job.size, first, bits)
    bar.set_description(job.picture.path.name)
    bar.total += (first.frames - 1) * job.size[0] * job.size[1] if is_moving else 0

    def strips(photo: Photo) -> Iterator[Samples]:
        for strip in enlarged(model, photo, asked, layout, by, team):
            yield strip
            bar.update(strip.shape[0] * strip.shape[1])

    photos = chain([first], frames) if is_moving else [first]
    if not team.leads:
        for photo in photos:
            list(strips(photo))
    elif is_moving:
        made = ((np.concatenate(list(strips(photo))), photo) for photo in photos)
        write_animation(job.target, job.size, made)
    else:
        if first.frames > 1:
            log.warning("%s: only the first of %d frames", job.target, first.frames)
        if layout.bits < first.bits and bits is None:
            log.warning("%s: 8 of %d bits; .png and .tif hold them", job.target, first.bits)
        made = strips(first)
        try:
            write_photo(job.target, job.size, layout, made, first)
        except UserError:
            if team.size > 1:
                list(made)  # what the other processes have made is on its way
            raise
    log.info("%s: %d×%d px", job.target, job.size[1], job.size[0])


def _agreed(team: Team, path: Path) -> Iterator[Photo]:
    """As `read_photo`; if one process cannot, none goes on."""
    photos = read_photo(path)
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


def _told(failures: Sequence[str], done: int, count: int) -> int:
    if done:
        text = "%d of %d were done already; --overwrite makes them anew"
        log.info(text, done, count)
    if failures and count == 1:
        raise UserError(failures[0])
    if failures:
        listed = "".join("\n  " + failure.replace("\n", "\\n") for failure in failures)
        raise UserError(f"{len(failures)} of {count} pictures failed:{listed}")
    return 0


def _compare(
    options: argparse.Namespace,
    pictures: Sequence[Input],
    model: SRModel,
    asked: OutputSpec,
    by: InferenceOptions,
    team: Team,
) -> None:
    if len(pictures) != 1:
        raise UserError(f"--compare is for one picture, not {len(pictures)}")
    if not team.leads:
        return
    path: Path = pictures[0].path
    photo = next(read_photo(path))
    reference = next(read_photo(options.reference)) if options.reference else None
    sheet, scores = comparison(
        model, photo, asked.target(photo.size), path.name, options.box, reference, by
    )
    write_image(options.compare, sheet)
    log.info("%s: %s", options.compare, scores)
