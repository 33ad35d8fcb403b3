"""Options of `liif upscale`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared, typed
from liif.hub.catalog import DEFAULT
from liif.images.naming import DEFAULT_PATTERN, FIELDS
from liif.images.suffixes import TARGETS

EXAMPLE = "photo.jpg -o large.png --scale 3.7"
MOVED = ("compare", "box", "reference")
"""Options that are those of `liif compare` today."""


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "images, folders of images (recursive) or patterns such as 'photos/*.jpg'"
    parser.add_argument("input", nargs="*", type=Path, help=text)
    text = "the same as INPUT"
    parser.add_argument(
        "-i", "--input", nargs="+", type=Path, action="extend", default=[], dest="inputs",
        metavar="INPUT", help=text,
    )  # fmt: skip
    text = "file; folder (exists, ends in / or has no suffix), where results keep the names of "
    text += "the inputs; or pattern of {%s} (default: %s next to the input). The suffix selects "
    text += "the format: %s. What is done already in a folder is skipped"
    text %= "}, {".join(FIELDS), DEFAULT_PATTERN, " ".join(TARGETS)
    parser.add_argument("-o", "--output", metavar="PATH", help=text)
    text = "end of the names of results, instead of -x{scale}: out for photo_out.jpg"
    parser.add_argument("--suffix", type=typed.name_part, metavar="TEXT", help=text)
    shared.overwrite_argument(parser)
    choice = (
        f"{DEFAULT}, for clean pictures; lite-photo removes noise and the marks of JPEG; "
        "edsr-liif is sharper and takes many times as long"
    )
    shared.checkpoint_argument(parser, choice)
    shared.size_arguments(parser)
    text = "enlarge only this region of the upright image, in input pixels, fractions allowed"
    parser.add_argument("--crop", type=typed.crop, metavar="X,Y,W,H", help=text)
    text = "bits per channel (default: those of the input where the format supports them)"
    parser.add_argument("--bits", type=int, choices=(8, 16), help=text)
    text = "quality of JPEG, AVIF and WebP, 1 to 100 (default: 95; WebP is lossless)"
    parser.add_argument("--quality", type=typed.quality, metavar="N", help=text)
    shared.inference_arguments(parser, precision="auto")
    for name in MOVED:
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
