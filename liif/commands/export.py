"""`liif export`: write a model as two graphs that run without this package."""

import argparse
import logging
from pathlib import Path

from liif.commands import options as shared
from liif.hub.catalog import DEFAULT
from liif.hub.export import FORMATS, export
from liif.hub.pretrained import resolve_checkpoint
from liif.models.checkpoint import read_checkpoint

EXAMPLE = "--checkpoint edsr-light --format onnx -o exported"

log = logging.getLogger("liif")


def arguments(parser: argparse.ArgumentParser) -> None:
    shared.checkpoint_argument(parser, DEFAULT)
    text = 'onnx (needs pip install "liif[export]") or torch (torch.export, .pt2)'
    parser.add_argument("--format", choices=tuple(FORMATS), default="onnx", help=text)
    text = "folder for the two graphs and model.json, which describes how to run them"
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", required=True, help=text)
    shared.overwrite_argument(parser)
    shared.hidden_positionals(parser, "checkpoint")


def run(options: argparse.Namespace) -> int:
    suffix, _ = FORMATS[options.format]
    names = (f"encoder{suffix}", f"decoder{suffix}", "model.json")
    outputs = [options.output / name for name in names]
    for file in outputs:
        shared.check_output(file, overwrite=options.overwrite)
    source = resolve_checkpoint(options.checkpoint)
    shared.check_inputs_are_kept(outputs, [source])
    checkpoint = read_checkpoint(source)
    for file in export(checkpoint, options.output, options.format):
        log.info("wrote %s", file)
    return 0
