"""Options of `liif test`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared

EXAMPLE = "--config configs/test-set5-x2.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    shared.config_arguments(parser)
    shared.checkpoint_argument(parser, "that of the configuration")
    shared.inference_arguments(parser, scoring=True)
    text = "write the scores to this file"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json", help=text)
    text = "write the enlarged images to this folder: PNG, or TIFF for n channels"
    parser.add_argument("--save-images", type=Path, metavar="DIR", help=text)
    shared.overwrite_argument(parser)
