"""Options of `liif view`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared
from liif.commands.arguments.typed import whole
from liif.hub.catalog import DEFAULT

EXAMPLE = "photo.jpg"

PHOTO = Path(__file__).parent.parent.parent / "photos" / "test" / "kitten.webp"
PORTS = range(8642, 8662)
"""Those that are tried one after the other."""


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "image to show (default: a bundled photograph); drop others on the page"
    parser.add_argument("input", type=Path, nargs="?", default=PHOTO, help=text)
    shared.device_argument(parser)
    text = f"model and its label on the page; give two to compare them (default: {DEFAULT})"
    shared.checkpoints_argument(parser, text)
    shared.precision_argument(parser, "auto")
    text = f"port on 127.0.0.1 (default: the first free one from {PORTS[0]})"
    parser.add_argument("--port", type=_port, metavar="N", help=text)
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def _port(text: str) -> int:
    if not 0 <= whole(text) < 2**16:
        raise argparse.ArgumentTypeError(f"{text}: must be a number up to 65535")
    return whole(text)
