"""Options of `liif metrics`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared, typed

EXAMPLE = "results/ Set5/HR --scale 4 --claim 32.24"


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "results: an image, or a folder of images with the names of the true ones"
    parser.add_argument("sr", type=Path, metavar="SR", help=text)
    text = "true images: an image or a folder; metrics without a reference need none"
    parser.add_argument("hr", type=Path, nargs="?", metavar="HR", help=text)
    text = "scale of the enlargement, for borders that depend on it, e.g. 4, 2.5 or 2.5x1.5 "
    text += "(vertical × horizontal)"
    parser.add_argument("--scale", type=typed.scale, metavar="S", help=text)
    text = "name of a protocol, or the line of a definition such as 'psnr colour=y-matlab "
    text += "border=s sr=8bit'; repeatable (default: all names); see docs/protocols.md"
    parser.add_argument("--protocol", action="append", default=[], metavar="NAME|LINE", help=text)
    shared.metric_argument(parser, "of all pixels and in place of the table of protocols")
    text = "a published PSNR in dB: which definitions give it on these images"
    parser.add_argument("--claim", metavar="DB", help=text)
    text = "a published SSIM, likewise"
    parser.add_argument("--claim-ssim", metavar="SSIM", help=text)
    text = "where the difference between two protocols comes from, term by term"
    parser.add_argument("--explain", nargs=2, metavar=("A", "B"), help=text)
    shared.json_argument(parser)
