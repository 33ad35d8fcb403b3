"""`liif export`: write a model as two graphs that run without this package."""

import argparse
import logging

from liif.commands.options import (
    check_output,
    checkpoint_argument,
    hidden_positionals,
    output_argument,
    overwrite_argument,
)
from liif.hub.catalog import DEFAULT
from liif.hub.export import FORMATS, export
from liif.hub.pretrained import resolve_checkpoint
from liif.models.checkpoint import read_checkpoint

EXAMPLE = "--checkpoint edsr-light --format onnx -o exported"

log = logging.getLogger("liif")


def arguments(parser: argparse.ArgumentParser) -> None:
    checkpoint_argument(parser, DEFAULT)
    text = 'onnx (needs pip install "liif[export]") or torch (torch.export, .pt2)'
    parser.add_argument("--format", choices=tuple(FORMATS), default="onnx", help=text)
    text = "folder for the two graphs and model.json, which describes how to run them"
    output_argument(parser, text, metavar="DIR", required=True)
    overwrite_argument(parser)
    hidden_positionals(parser, "checkpoint")


def run(options: argparse.Namespace) -> int:
    suffix, _ = FORMATS[options.format]
    for name in (f"encoder{suffix}", f"decoder{suffix}", "model.json"):
        check_output(options.output / name, overwrite=options.overwrite)
    checkpoint = read_checkpoint(resolve_checkpoint(options.checkpoint))
    for file in export(checkpoint, options.output, options.format):
        log.info("wrote %s", file)
    return 0
