"""Options of `liif view`."""

import argparse
from ipaddress import ip_address
from pathlib import Path

from liif.commands.arguments import shared
from liif.hub.catalog import DEFAULT

EXAMPLE = "photo.jpg"

PHOTO = Path(__file__).parent.parent.parent / "photos" / "test" / "kitten.webp"
PORTS = range(8642, 8662)
"""Those that are tried one after the other."""
LOOPBACK = "127.0.0.1"


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "image to show (default: a bundled photograph); drop others on the page"
    parser.add_argument("input", type=Path, nargs="?", default=PHOTO, help=text)
    shared.device_argument(parser)
    text = f"model and its label on the page; give two to compare them (default: {DEFAULT})"
    shared.checkpoints_argument(parser, text)
    shared.precision_argument(parser, "auto")
    text = f"port to listen on (default: the first free one from {PORTS[0]})"
    parser.add_argument("--port", type=shared.port, metavar="N", help=text)
    text = "address to listen on, e.g. 0.0.0.0 inside a container (default: 127.0.0.1, which other "
    text += "machines cannot reach)"
    parser.add_argument("--host", type=_address, metavar="ADDRESS", default=LOOPBACK, help=text)
    text = "host name under which a proxy serves the page (repeatable); localhost and 127.0.0.1 on "
    text += "any port need no such option"
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME", help=text)
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def _address(text: str) -> str:
    text = LOOPBACK if text == "localhost" else text.strip("[]")
    try:
        ip_address(text)
    except ValueError:
        message = f"{text}: must be an IP address of this machine, e.g. {LOOPBACK} or 0.0.0.0"
        raise argparse.ArgumentTypeError(message) from None
    return text
