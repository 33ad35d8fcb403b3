"""`liif upscale`: a picture in, a picture of any size out."""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from liif.checkpoint import load
from liif.commands.device import chosen_device, device_argument
from liif.commands.options import check_target, chosen_means, means_arguments
from liif.data.images import image_writer, read_image
from liif.distributed import joined
from liif.errors import UserError
from liif.evaluate import shared_strips, to_image, to_tensor
from liif.geometry import target_size
from liif.runlog import shows_progress

SUMMARY = "Enlarge a picture to any size."
EXAMPLE = "photo.jpg large.png --scale 3.7 --checkpoint runs/edsr-liif/last.pt"

log = logging.getLogger("liif")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, help="a picture; 16 bits are read as 8")
    text = "where the result goes: .png (of any size), .jpg, .webp, .tif, .bmp or .ppm"
    parser.add_argument("output", type=Path, help=text)
    device_argument(parser)
    text = "weights: a run's last.pt, a .safetensors or an official .pth"
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help=text)
    parser.add_argument("--scale", type=_scale, metavar="S or SY,SX", help="factor (height, width)")
    parser.add_argument("--size", type=_size, metavar="WxH", help="size of the result in pixels")
    means_arguments(parser)


def run(options: argparse.Namespace) -> int:
    if (options.scale is None) == (options.size is None):
        raise UserError("give one of --scale and --size")
    by = chosen_means(options)
    check_target(options.output)
    lr = to_tensor(read_image(options.input))
    H, W = target_size((lr.shape[1], lr.shape[2]), size=options.size, scale=options.scale)
    device = chosen_device(options.device)
    model = load(options.checkpoint, device)
    with joined(device) as team:
        made = shared_strips(team, model, lr.to(model.mean), (H, W), by)
        if not team.leads:
            return len(list(made))  # 0: its strips go to the process that leads
        _write(options.output, (H, W), made)
    return 0


def _write(output: Path, size: tuple[int, int], made: Iterator[Tensor]) -> None:
    bar = tqdm(total=size[0], unit="row", dynamic_ncols=True, disable=not shows_progress())
    with image_writer(output, size) as write, bar:
        for strip in made:
            write(to_image(strip))
            bar.update(strip.shape[1])
    log.info("%s: %d×%d px", output, size[1], size[0])


def _scale(text: str) -> tuple[float, float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 < n <= 1000 for n in numbers):
        raise argparse.ArgumentTypeError(f"{text}: must be a number above 0, up to 1000, or SY,SX")
    return numbers[0], numbers[-1]


def _size(text: str) -> tuple[int, int]:
    width, by, height = text.lower().partition("x")
    sides = [int(s) if s.isascii() and s.isdecimal() else 0 for s in (width, height)]
    if not by or not 1 <= min(sides) <= max(sides) <= 10**6:
        raise argparse.ArgumentTypeError(f"{text}: must be WIDTHxHEIGHT, e.g. 3840x2160")
    return sides[1], sides[0]
