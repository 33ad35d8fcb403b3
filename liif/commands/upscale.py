"""`liif upscale`: enlarge photographs, folders of them and animations to any size."""

import argparse
import glob
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from liif.commands import options as shared
from liif.commands.arguments.shared import usage_error
from liif.commands.arguments.upscale import MOVED
from liif.commands.device import select_device
from liif.core.distributed import joined
from liif.core.errors import UserError
from liif.core.files import format_bytes
from liif.core.host_memory import available_memory
from liif.core.sizes import OutputSpec, Size
from liif.hub.pretrained import load, resolve_checkpoint
from liif.images import formats
from liif.images.jobs import Making, UpscaleJob, UpscalePlan, find_inputs, pixels_of, plan_jobs
from liif.images.naming import OutputPlace, parse_output
from liif.images.origin import file_print
from liif.inference.files import enlarge_files
from liif.inference.predict import InferenceOptions
from liif.inference.work import expected_memory
from liif.models.model import SRModel

LONG_PIXELS = 2**21
"""Pixels of results above which sizes and memory are stated before the work."""

log = logging.getLogger("liif")


def run(options: argparse.Namespace) -> int:
    _check_usage(options)
    inference, spec = shared.inference_options(options), _output_spec(options)
    names: list[Path] = [*options.input, *options.inputs]
    _check_second_path(names, options.output)
    device = select_device(options.device)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # our errors say what is damaged
    with joined(device) as team:
        place = _output_place(options, names)
        found = find_inputs(names, place.folder)
        if not found.pictures:
            return _report(found.failures, UpscalePlan([], [], 0, []), len(found.failures))
        checkpoint = resolve_checkpoint(options.checkpoint)
        making = _making(options, inference, spec, checkpoint)
        planned = plan_jobs(found.pictures, place, making, overwrite=options.overwrite)
        plan: UpscalePlan = team.gather(planned)[0]
        failures = [*found.failures, *plan.failures]
        if plan.jobs:
            model = load(checkpoint, device)
            _tell_sizes(plan.jobs, options.size, model, inference)
            failures += enlarge_files(plan.jobs, model, spec, inference, options.bits, team)
        count = len(found.pictures) - len(plan.own) + len(found.failures)
        return _report(failures, plan, count)


def _check_usage(options: argparse.Namespace) -> None:
    for name in MOVED:
        if getattr(options, name) is not None:
            text = f"--{name} is an option of its own command: liif compare PHOTO -o SHEET.png"
            raise usage_error("upscale", text)
    if not (options.input or options.inputs):
        raise usage_error("upscale", "the following arguments are required: INPUT")


def _check_second_path(paths: Sequence[Path], place: str | None) -> None:
    """Raise UserError where a path looks like the name of a result given without -o."""
    last = paths[-1]
    is_pair = place is None and len(paths) == 2
    if is_pair and not os.path.lexists(last) and not glob.has_magic(str(last)):
        raise UserError(f"{last}: no such input; to name the result, use -o {last}")


def _output_spec(options: argparse.Namespace) -> OutputSpec:
    spec = shared.output_spec(options)
    if spec is None:
        log.info("no size is given: --scale 4")
    return (spec or shared.DEFAULT_SIZE)._replace(crop=options.crop)


def _output_place(options: argparse.Namespace, names: Sequence[Path]) -> OutputPlace:
    place = parse_output(options.output, names)
    if options.suffix is None:
        return place
    if place.file is not None or place.pattern is not None:
        text = "--suffix is for results beside the inputs or in a folder; -o names this result"
        raise usage_error("upscale", text)
    return place._replace(ending=options.suffix)


def _making(
    options: argparse.Namespace, inference: InferenceOptions, spec: OutputSpec, checkpoint: Path
) -> Making:
    given: dict[str, Any] = {**inference.non_default, "precision": inference.precision}
    given |= {"engine": inference.engine} if inference.engine != "fast" else {}
    given |= {"bits": options.bits} if options.bits else {}
    return Making(file_print(checkpoint), spec, given, options.quality)


def _tell_sizes(
    jobs: Sequence[UpscaleJob], wanted: Size | None, model: SRModel, inference: InferenceOptions
) -> None:
    """Log that --size keeps the aspect ratio, and sizes and memory of what takes long."""
    if wanted is not None and (others := [job for job in jobs if job.size != wanted]):
        H, W = others[0].size
        text = "%s: %d×%d px, the largest of its aspect ratio within %d×%d; --fit cover fills it "
        text += "and crops the rest, --fit stretch distorts"
        log.info(text, others[0].target, W, H, wanted[1], wanted[0])
    total = sum(map(pixels_of, jobs))
    if total > LONG_PIXELS:
        largest = max(jobs, key=pixels_of)
        memory = expected_memory(
            model, largest.source_size, largest.size, inference.memory,
            is_streamed=formats.is_streamed(largest.target),
        )  # fmt: skip
        what = largest.picture.path.name if len(jobs) == 1 else f"{len(jobs)} pictures"
        source = sum(job.source_size[0] * job.source_size[1] for job in jobs)
        text = "%s: %.1f megapixels become %.1f; about %s of memory"
        log.info(text, what, source / 1e6, total / 1e6, format_bytes(memory))
        free = available_memory()
        if model.mean.device.type == "cpu" and free is not None and memory > free:
            text = "only %s of memory are free; try --memory 500M, and results in .png or .tif"
            log.warning(text, format_bytes(free))


def _report(failures: Sequence[str], plan: UpscalePlan, count: int) -> int:
    """Log what was not enlarged. Raises UserError that lists the failures, if there are any."""
    if plan.own:
        names = ", ".join(path.name for path in plan.own[:5]) + ", …" * (len(plan.own) > 5)
        log.info("passed over as results of these pictures: %d (%s)", len(plan.own), names)
    if plan.done:
        text = "%d of %d exist already and were skipped; --overwrite replaces them"
        log.info(text, plan.done, count)
    if failures and count == 1:
        raise UserError(failures[0])
    if failures:
        listed = "".join("\n  " + failure.replace("\n", "\\n") for failure in failures)
        raise UserError(f"{len(failures)} of {count} pictures failed:{listed}")
    return 0
