"""`liif convert`: copy a model from one checkpoint format to another."""

import argparse
import logging

from liif.commands.options import (
    check_output,
    checkpoint_argument,
    hidden_positionals,
    output_argument,
    overwrite_argument,
)
from liif.core.errors import UserError
from liif.hub.catalog import DEFAULT
from liif.hub.pretrained import resolve_checkpoint
from liif.models.checkpoint import read_checkpoint, save_checkpoint, save_weights

EXAMPLE = "--checkpoint edsr-baseline-liif.pth -o edsr-baseline-liif.safetensors"

log = logging.getLogger("liif")


def arguments(parser: argparse.ArgumentParser) -> None:
    checkpoint_argument(parser, DEFAULT)
    text = "required: a .safetensors or .pt file; optimizer and training state are left out"
    output_argument(parser, text, metavar="FILE")
    overwrite_argument(parser)
    hidden_positionals(parser, "checkpoint", "output")


def run(options: argparse.Namespace) -> int:
    if options.output is None:
        raise UserError("the following arguments are required: -o/--output")
    savers = {".safetensors": save_weights, ".pt": save_checkpoint}
    save = savers.get(options.output.suffix)
    if save is None:
        raise UserError(f"{options.output}: must end in {' or '.join(savers)}")
    source = resolve_checkpoint(options.checkpoint)
    if source.resolve() == options.output.resolve():
        raise UserError(f"{options.output}: is the input; choose another name")
    check_output(options.output, overwrite=options.overwrite)
    checkpoint = read_checkpoint(source)
    save(options.output, checkpoint.model, checkpoint.weights)
    log.info("wrote %s", options.output)
    return 0
