"""`liif convert`: copy a model from one checkpoint format to another."""

import argparse
import logging
from pathlib import Path

from liif.commands import options as shared
from liif.core.errors import UserError
from liif.hub.catalog import DEFAULT
from liif.hub.pretrained import resolve_checkpoint
from liif.models.checkpoint import read_checkpoint, save_checkpoint, save_weights

EXAMPLE = "--checkpoint edsr-baseline-liif.pth -o edsr-baseline-liif.safetensors"

log = logging.getLogger("liif")


def arguments(parser: argparse.ArgumentParser) -> None:
    shared.checkpoint_argument(parser, DEFAULT)
    text = "required: a .safetensors or .pt file; optimizer and training state are left out"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=text)
    shared.overwrite_argument(parser)
    shared.hidden_positionals(parser, "checkpoint", "output")


def run(options: argparse.Namespace) -> int:
    output: Path | None = options.output
    if output is None:
        raise shared.usage_error("convert", "the following arguments are required: -o/--output")
    savers = {".safetensors": save_weights, ".pt": save_checkpoint}
    if output.suffix not in savers:
        raise UserError(f"{output}: must end in {' or '.join(savers)}")
    source = resolve_checkpoint(options.checkpoint)
    shared.check_inputs_are_kept([output], [source])
    shared.check_output(output, overwrite=options.overwrite)
    checkpoint = read_checkpoint(source)
    savers[output.suffix](output, checkpoint.model, checkpoint.weights)
    log.info("wrote %s", output)
    return 0
