"""Options of `liif upscale`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared, typed
from liif.hub.catalog import DEFAULT
from liif.images.naming import DEFAULT_PATTERN, FIELDS
from liif.images.suffixes import TARGETS

EXAMPLE = "photo.jpg -o large.png --scale 3.7"


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "images, folders of images (recursive) or patterns such as 'photos/*.jpg'"
    parser.add_argument("input", nargs="+", type=Path, help=text)
    text = "file; folder (exists, ends in / or has no suffix), where results keep the names of "
    text += "the inputs; or pattern of {%s} (default: %s next to the input). The suffix selects "
    text += "the format: %s. Existing results in folders are skipped"
    text %= "}, {".join(FIELDS), DEFAULT_PATTERN, " ".join(TARGETS)
    parser.add_argument("-o", "--output", metavar="PATH", help=text)
    shared.overwrite_argument(parser)
    shared.checkpoint_argument(parser, DEFAULT)
    text = "scale factor, or factors of height and width; a side scaled by 1 or less is resized "
    text += "by antialiased bicubic instead of the model"
    parser.add_argument("--scale", type=typed.scale, metavar="S or SY,SX", help=text)
    parser.add_argument("--size", type=typed.size, metavar="WxH", help="output size in pixels")
    for name in ("width", "height"):
        text = f"output {name}; keeps the ratio"
        parser.add_argument(f"--{name}", type=typed.side, metavar="N", help=text)
    text = "enlarge only this region of the upright image, in input pixels, fractions allowed"
    parser.add_argument("--crop", type=typed.crop, metavar="X,Y,W,H", help=text)
    text = "bits per channel (default: those of the input where the format supports them)"
    parser.add_argument("--bits", type=int, choices=(8, 16), help=text)
    shared.inference_arguments(parser, precision="auto")
    text = "write a sheet that compares input, bicubic and the model on some regions; without "
    text += "--output, nothing else is written"
    parser.add_argument("--compare", type=Path, metavar="FILE.png", help=text)
    text = "region to compare, in input pixels; repeatable (default: regions rich in detail)"
    parser.add_argument("--box", type=typed.box, action="append", metavar="X,Y,W,H", help=text)
    text = "ground truth for --compare: shown and scored with PSNR; also sets the output size"
    parser.add_argument("--reference", type=Path, metavar="HR.png", help=text)
