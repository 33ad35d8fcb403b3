"""Options of `liif convert`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared
from liif.hub.catalog import DEFAULT

LAYOUTS = ("official", "liif", "safetensors")
EXAMPLE = "--checkpoint edsr-baseline-liif.pth -o edsr-baseline-liif.safetensors"


def arguments(parser: argparse.ArgumentParser) -> None:
    shared.checkpoint_argument(parser, DEFAULT)
    text = "required: a .safetensors or .pt file of this package, or a .pth file in the layout of "
    text += "the official LIIF code; optimizer and training state are left out"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=text)
    text = "layout of the output, if the ending of its name does not tell"
    parser.add_argument("--to", choices=LAYOUTS, help=text)
    text = "the model of a file that has its weights alone: a model that `liif models` lists, or a "
    text += "configuration with a section model, a file or a shipped one by name"
    parser.add_argument("--arch", metavar="NAME|FILE", help=text)
    shared.overwrite_argument(parser)
    shared.hidden_positionals(parser, "checkpoint", "output")
