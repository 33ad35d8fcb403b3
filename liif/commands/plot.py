"""`liif plot`: read results, runs or images and draw them with `liif.figures`."""

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from liif.commands import options as shared
from liif.commands.arguments.shared import NamedCheckpoint
from liif.commands.device import select_device
from liif.core.errors import UserError
from liif.core.files import write_all
from liif.core.outputs import check_outputs
from liif.core.progress import progress_bar
from liif.core.sizes import Box
from liif.data.pairs import reduced_size
from liif.evaluation import results
from liif.evaluation.bootstrap import paired_difference
from liif.figures.crops import CropScene, crops_figure, enlarged_crops
from liif.figures.curves import curves_figure
from liif.figures.images import ImageScores, images_figure
from liif.figures.scores import scores_figure
from liif.figures.style import METRIC_LABELS, SUFFIXES, encode_figure, plot_style
from liif.hub.pretrained import load
from liif.images.rgb8 import image_size, read_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("liif")


def run(options: argparse.Namespace) -> int:
    for file in options.output:
        if file.suffix.lower() not in SUFFIXES:
            raise UserError(f"{file}: cannot draw this format; use one of {' '.join(SUFFIXES)}")
    check_outputs(options.output, _inputs(options), overwrite=options.overwrite)
    with plot_style():  # raises before the work if matplotlib is missing
        failures: list[str] = []
        figure = DRAW[options.kind](options, failures)
    write_all({file: encode_figure(figure, file.suffix) for file in options.output})
    log.info("wrote %s", ", ".join(map(str, options.output)))
    if failures:
        listed = "".join(f"\n  {failure}" for failure in failures)
        raise UserError(f"{len(failures)} of {len(options.image)} images are not drawn:{listed}")
    return 0


def _inputs(options: argparse.Namespace) -> list[Path]:
    """Return the files that a figure of any kind is drawn from."""
    given = vars(options)
    logs = [folder / "metrics.jsonl" for folder in given.get("runs", ())]
    checkpoints = [Path(os.path.expanduser(each.file)) for each in given.get("checkpoint", ())]
    return [*given.get("results", ()), *logs, *given.get("image", ()), *checkpoints]


def _psnr(options: argparse.Namespace, failures: list[str]) -> "Figure":
    points = results.read_points(options.results, options.metric)
    sets, lines = ({getattr(p, key): None for p in points} for key in ("set", "method"))
    for option, given, known in (("set", options.set, sets), ("over", [options.over], lines)):
        for name in given:
            if name and name not in known:
                raise UserError(f"--{option} {name}: not among the results: {', '.join(known)}")
    points = [point for point in points if not options.set or point.set in options.set]
    quantity = METRIC_LABELS[options.metric]
    if options.over:
        points = results.differences(points, options.over)
        quantity = f"{quantity} above {options.over}"
        if not points:
            raise UserError(f"--over {options.over}: no other method to compare with it")
    return scores_figure(points, quantity)


def _images(options: argparse.Namespace, failures: list[str]) -> "Figure":
    """Draw two results image by image, and print how sure their difference is."""
    pairs, names = results.read_image_pairs(tuple(options.results), options.metric)
    sets: list[ImageScores] = []
    for title, _, first, second in pairs:
        found = paired_difference(first, second)
        sets.append(ImageScores(title, first, second, found))
        print(
            f"{title}: {names[1]} above {names[0]} {found.mean:+.4f}, 95 % {found.low:+.4f} to "
            f"{found.high:+.4f} (paired bootstrap), better on {found.wins} of {found.images} "
            f"images; the order holds in {found.stability:.1%} of the resampled sets"
        )
    return images_figure(sets, (names[0], names[1]), METRIC_LABELS[options.metric])


def _curves(options: argparse.Namespace, failures: list[str]) -> "Figure":
    names = results.short_names(options.runs, lambda folder: folder.resolve().name)
    return curves_figure([results.read_run(folder, name) for folder, name in names.items()])


def _crops(options: argparse.Namespace, failures: list[str]) -> "Figure":
    """Draw crops. Images that cannot be read are added to `failures`.
    Raises UserError if none can be read."""
    inference, boxes = shared.inference_options(options), _boxes(options)
    files = _labelled(options.checkpoint)
    device = select_device(options.device)
    models = {name: load(file, device) for name, file in files.items()}
    for model in models.values():
        shared.check_is_rgb(model, "plot crops")
    scenes: list[CropScene] = []
    with progress_bar(total=len(boxes) * len(options.scales), unit="row") as bar:
        for path, box in zip(options.image, boxes, strict=True):
            try:
                scene = CropScene(path.stem, read_image(path), box, [])
            except UserError as error:
                failures.append(str(error))
                continue
            for scale in options.scales:
                scene.rows.append(enlarged_crops(scene.image, scale, box, models, path, inference))
                bar.update()
            scenes.append(scene)
    if not scenes:
        raise UserError("\n  ".join(failures))
    return crops_figure(scenes)


def _boxes(options: argparse.Namespace) -> list[Box]:
    """Return a box for every image, inside the part that every scale preserves."""
    sizes = [image_size(path) for path in options.image]
    boxes = options.box or [_middle(size) for size in sizes]
    if len(boxes) == 1:
        boxes = boxes * len(sizes)
    if len(boxes) != len(sizes):
        text = f"--box: {len(boxes)} boxes for {len(sizes)} images"
        raise UserError(f"{text}; give one for each, or one for all")
    for path, size, box in zip(options.image, sizes, boxes, strict=True):
        for scale in options.scales:
            H, W = map(min, size, reduced_size(size, (scale, scale))[1])
            if box.x + box.w > W or box.y + box.h > H:
                text = f"{path}: the box {','.join(map(str, box))} reaches outside the {W}×{H} px"
                text += f" that x{scale:g} preserves; choose another --box or smaller --scales"
                raise UserError(text)
    return boxes


def _middle(size: tuple[int, int]) -> Box:
    side = max(1, min(size) // 4)
    return Box((size[1] - side) // 2, (size[0] - side) // 2, side, side)


def _labelled(checkpoints: list[NamedCheckpoint]) -> dict[str, Path]:
    """Return the files by their labels: the given names, or short ones made from the paths."""
    unnamed = [file for name, file in checkpoints if not name]
    short = results.short_names(unnamed, results.model_name)
    labelled = {name or short[file]: file for name, file in checkpoints}
    if len(labelled) < len(checkpoints) or labelled.keys() & {"LR", "bicubic", "HR"}:
        raise UserError("--checkpoint: every model needs its own name: use NAME=FILE")
    return labelled


DRAW = {"psnr": _psnr, "images": _images, "curves": _curves, "crops": _crops}
