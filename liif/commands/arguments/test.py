"""Options of `liif test`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared, typed
from liif.hub.catalog import DEFAULT

EXAMPLE = "--data photos --scale 2 --scale 4"
PROTOCOLS = ("div2k", "benchmark", "none")
RECIPES = ("liif", "arbsr", "arbsr-2014", "meta-sr", "gsasr", "lerf", "thera")
"""As `recipes.RECIPE_NAMES`, without importing them."""


def arguments(parser: argparse.ArgumentParser) -> None:
    shared.config_arguments(parser, required=False)
    text = "folder of high-resolution images, or one image; without --config, or in place of the "
    text += "images of the configuration"
    parser.add_argument("--data", type=Path, metavar="FOLDER", help=text)
    text = "folder of their low-resolution images, in which {scale} is replaced by the scale "
    text += "(default: they are made by bicubic)"
    parser.add_argument("--lr", type=Path, metavar="FOLDER", help=text)
    text = "make the low-resolution images by the recipe of a paper, for any scale: "
    text += ", ".join(RECIPES) + "; see docs/protocols.md"
    parser.add_argument("--lr-recipe", choices=RECIPES, metavar="NAME", help=text)
    text = "scale factor; repeatable (default: that of the configuration, else 4)"
    parser.add_argument(
        "-s", "--scale", type=enlarging_scale, nargs="+", action="extend", default=[], metavar="S",
        help=text,
    )  # fmt: skip
    text = "what is scored: benchmark: luma, without a border of the scale; div2k: RGB, without a "
    text += "border of the scale + 6 px; none: RGB, all pixels (default: that of the "
    text += "configuration, else benchmark)"
    parser.add_argument("--protocol", choices=PROTOCOLS, help=text)
    shared.metric_argument(parser, "without the border of the protocol")
    text = f"that of the configuration, else {DEFAULT}"
    shared.checkpoint_argument(parser, text)
    shared.inference_arguments(parser, scoring=True)
    text = "write the scores to this file"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json", help=text)
    text = "write the enlarged images to this folder: PNG, or TIFF for n channels"
    parser.add_argument("--save-images", type=Path, metavar="DIR", help=text)
    shared.overwrite_argument(parser)


def enlarging_scale(text: str) -> tuple[float, float]:
    """Parse a scale (vertical, horizontal) of at least 1."""
    scale = typed.scale(text)
    if min(scale) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be from 1 to 1000")
    return scale
