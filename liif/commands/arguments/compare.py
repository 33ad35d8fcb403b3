"""Options of `liif compare`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared, typed
from liif.hub.catalog import DEFAULT

EXAMPLE = "photo.jpg -o comparison.png --box 100,80,64,64"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, help="image to enlarge")
    text = "image file of the sheet (default: photo-compared.png next to photo.jpg)"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=text)
    shared.overwrite_argument(parser)
    text = "region to show, in input pixels; repeatable (default: regions rich in detail)"
    parser.add_argument("--box", type=typed.box, action="append", metavar="X,Y,W,H", help=text)
    text = "ground truth: shown, and compared by PSNR; also sets the output size"
    parser.add_argument("--reference", type=Path, metavar="HR.png", help=text)
    shared.checkpoint_argument(parser, DEFAULT)
    shared.size_arguments(parser)
    shared.inference_arguments(parser, precision="auto")
