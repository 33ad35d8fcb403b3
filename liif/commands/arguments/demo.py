"""Options of `liif demo`."""

import argparse

from liif.commands.arguments import shared
from liif.hub.catalog import DEFAULT

EXAMPLE = "--checkpoint lite"


def arguments(parser: argparse.ArgumentParser) -> None:
    shared.device_argument(parser)
    text = f"model and its name on the page; several to choose from (default: {DEFAULT})"
    shared.checkpoints_argument(parser, text)
    shared.precision_argument(parser, "auto")
    text = "port to listen on (default: Gradio's, 7860 or the next free one)"
    parser.add_argument("--port", type=shared.port, metavar="N", help=text)
    text = "also serve the page under a public address, through Gradio's servers, for 72 hours"
    parser.add_argument("--share", action="store_true", help=text)
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
