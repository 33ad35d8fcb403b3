"""`liif plot`: read results, runs or images and draw them with `liif.figures`."""

import argparse
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from liif.commands.device import device_argument, select_device
from liif.commands.options import (
    NamedCheckpoint,
    check_output,
    checkpoints_argument,
    inference_arguments,
    inference_options,
    output_argument,
)
from liif.core.errors import UserError
from liif.core.progress import progress_bar
from liif.data.pairs import reduced_size
from liif.evaluation.results import (
    METRIC_LABELS,
    differences,
    model_name,
    read_points,
    read_run,
    short_names,
)
from liif.figures.crops import Box, CropRow, CropScene, crops_figure, enlarged_crops
from liif.figures.curves import curves_figure
from liif.figures.scores import scores_figure
from liif.figures.style import SUFFIXES, encode_figure, plot_style
from liif.hub.pretrained import load
from liif.images.rgb8 import image_size, read_image
from liif.models.checkpoint import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLE = "psnr results/benchmark.json -o psnr.png"

log = logging.getLogger("liif")


def arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(required=True, metavar="KIND")

    def kind(
        name: str, draw: "Callable[[argparse.Namespace], Figure]", summary: str
    ) -> argparse.ArgumentParser:
        sub = kinds.add_parser(name, help=summary, description=summary)
        sub.set_defaults(draw=draw)
        text = f"figure to write or update, {'|'.join(SUFFIXES)}; repeatable"
        output_argument(sub, text, action="append", required=True, metavar="FILE")
        return sub

    sub = kind("psnr", _psnr, "Plot scores over scale, a panel for each set.")
    text = "file written by `liif test -o` or `liif tables`"
    sub.add_argument("results", type=Path, nargs="+", metavar="RESULT.json", help=text)
    text = "only these sets"
    sub.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME", help=text)
    text = "default: psnr, on the channels of the set's protocol"
    sub.add_argument("--metric", choices=tuple(METRIC_LABELS), default="psnr", help=text)
    text = "plot differences from this method, e.g. bicubic, to separate similar models"
    sub.add_argument("--over", metavar="NAME", help=text)

    sub = kind("curves", _curves, "Plot loss, validation PSNR and learning rate of runs.")
    sub.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN_FOLDER", help="e.g. runs/quickstart"
    )

    sub = kind("crops", _crops, "Compare a crop between methods and scales.")
    text = "high-resolution images, which are reduced and enlarged again"
    sub.add_argument("--image", type=Path, nargs="+", required=True, metavar="FILE", help=text)
    text = "crop in image pixels; one for each image or one for all (default: the middle)"
    sub.add_argument("--box", type=_box, nargs="+", metavar="X,Y,W,H", help=text)
    text = "scale factors from 1 up (default: 2,4,8)"
    sub.add_argument("--scales", type=_scales, default=[2.0, 4.0, 8.0], metavar="S,…", help=text)
    text = "models and their labels in the figure"
    checkpoints_argument(sub, text, action="extend", nargs="+", required=True)
    device_argument(sub)
    inference_arguments(sub)


def run(options: argparse.Namespace) -> int:
    for file in options.output:
        if file.suffix.lower() not in SUFFIXES:
            raise UserError(f"{file}: cannot draw this format; use one of {' '.join(SUFFIXES)}")
        check_output(file)
    with plot_style():  # raises before the work if matplotlib is missing
        figure = options.draw(options)
    contents = {file: encode_figure(figure, file.suffix) for file in options.output}
    for file, content in contents.items():
        write_atomically(file, content)
        log.info("wrote %s", file)
    return 0


def _psnr(options: argparse.Namespace) -> "Figure":
    points = read_points(options.results, options.metric)
    sets, lines = ({getattr(p, key): None for p in points} for key in ("set", "method"))
    for option, given, known in (("set", options.set, sets), ("over", [options.over], lines)):
        for name in given:
            if name and name not in known:
                raise UserError(f"--{option} {name}: not among the results: {', '.join(known)}")
    points = [point for point in points if not options.set or point.set in options.set]
    quantity = METRIC_LABELS[options.metric]
    if options.over:
        points = differences(points, options.over)
        quantity = f"{quantity} above {options.over}"
        if not points:
            raise UserError(f"--over {options.over}: no other method to compare with it")
    return scores_figure(points, quantity)


def _curves(options: argparse.Namespace) -> "Figure":
    names = short_names(options.runs, lambda folder: folder.resolve().name)
    return curves_figure([read_run(folder, name) for folder, name in names.items()])


def _crops(options: argparse.Namespace) -> "Figure":
    inference = inference_options(options)
    scenes = list(zip(options.image, _boxes(options), strict=True))
    files = _labelled(options.checkpoint)
    device = select_device(options.device)
    models = {name: load(file, device) for name, file in files.items()}
    total = len(scenes) * len(options.scales)
    bar = progress_bar(total=total, unit="row")

    def rows(image: np.ndarray, box: Box, path: Path) -> Iterator[CropRow]:
        for scale in options.scales:
            yield enlarged_crops(image, scale, box, models, path, inference)
            bar.update()

    drawn: list[CropScene] = []
    with bar:
        for path, box in scenes:
            image = read_image(path)
            drawn.append(CropScene(path.stem, image, box, list(rows(image, box, path))))
    return crops_figure(drawn)


def _boxes(options: argparse.Namespace) -> list[Box]:
    """Return a box for every image, inside the part that every scale preserves."""
    sizes = [image_size(path) for path in options.image]
    boxes = options.box or [_middle(size) for size in sizes]
    if len(boxes) not in (1, len(sizes)):
        raise UserError(
            f"--box: {len(boxes)} boxes for {len(sizes)} images; give one for each, or one for all"
        )
    boxes = boxes * (len(sizes) if len(boxes) == 1 else 1)
    for path, size, box in zip(options.image, sizes, boxes, strict=True):
        for scale in options.scales:
            H, W = map(min, size, reduced_size(size, (scale, scale))[1])
            if box.x + box.w > W or box.y + box.h > H:
                raise UserError(
                    f"{path}: the box {','.join(map(str, box))} reaches outside the {W}×{H} px "
                    f"that x{scale:g} preserves; choose another --box or smaller --scales"
                )
    return boxes


def _middle(size: tuple[int, int]) -> Box:
    side = max(1, min(size) // 4)
    return Box((size[1] - side) // 2, (size[0] - side) // 2, side, side)


def _labelled(checkpoints: list[NamedCheckpoint]) -> dict[str, Path]:
    """Return the files by their labels: the given names, or short ones made from the paths."""
    short = short_names((file for name, file in checkpoints if not name), model_name)
    labelled = {name or short[file]: file for name, file in checkpoints}
    if len(labelled) < len(checkpoints) or labelled.keys() & {"LR", "bicubic", "HR"}:
        raise UserError("--checkpoint: every model needs its own name: use NAME=FILE")
    return labelled


def _box(text: str) -> Box:
    parts = text.split(",")
    numbers = [int(part) if part.isascii() and part.isdecimal() else -1 for part in parts]
    if len(numbers) != 4 or min(numbers) < 0 or 0 in numbers[2:]:
        raise argparse.ArgumentTypeError(
            f"{text}: must be X,Y,W,H: left, top, width and height in whole pixels"
        )
    return Box(*numbers)


def _scales(text: str) -> list[float]:
    try:
        scales = [float(part) for part in text.split(",")]
    except ValueError:
        scales = [0.0]
    if not all(1 <= scale <= 1000 for scale in scales):
        raise argparse.ArgumentTypeError(f"{text}: must be numbers from 1 to 1000, e.g. 2,3.5,8")
    return scales
