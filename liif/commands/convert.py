"""`liif convert`: weights from one kind of file to another."""

import argparse
import logging
from pathlib import Path

from liif.commands.options import check_target, checkpoint_input
from liif.core.errors import UserError
from liif.hub.pretrained import resolve_checkpoint
from liif.models.checkpoint import read_checkpoint, save_checkpoint, save_weights

SUMMARY = "Write the weights of a checkpoint, ours or an official one, as .safetensors or .pt."
EXAMPLE = "edsr-baseline-liif.pth edsr-baseline-liif.safetensors"

log = logging.getLogger("liif")


def arguments(parser: argparse.ArgumentParser) -> None:
    checkpoint_input(parser)
    text = "a new file, .safetensors or .pt; the state of a run is left out"
    parser.add_argument("output", type=Path, help=text)


def run(options: argparse.Namespace) -> int:
    savers = {".safetensors": save_weights, ".pt": save_checkpoint}
    save = savers.get(options.output.suffix)
    if save is None:
        raise UserError(f"{options.output}: must end in {' or '.join(savers)}")
    if options.output.exists():
        raise UserError(f"{options.output}: exists already; choose another name")
    check_target(options.output)
    checkpoint = read_checkpoint(resolve_checkpoint(options.checkpoint))
    save(options.output, checkpoint.model, checkpoint.weights)
    log.info("wrote %s", options.output)
    return 0
