"""Options of `liif runs`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared

EXAMPLE = "runs/edsr-liif"


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "run folders, or folders that contain them (default: runs)"
    parser.add_argument("folders", nargs="*", type=Path, metavar="DIR", help=text)
    shared.json_argument(parser)
