"""Options of `liif convert`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared
from liif.hub.catalog import DEFAULT

EXAMPLE = "--checkpoint edsr-baseline-liif.pth -o edsr-baseline-liif.safetensors"


def arguments(parser: argparse.ArgumentParser) -> None:
    shared.checkpoint_argument(parser, DEFAULT)
    text = "required: a .safetensors or .pt file; optimizer and training state are left out"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=text)
    shared.overwrite_argument(parser)
    shared.hidden_positionals(parser, "checkpoint", "output")
