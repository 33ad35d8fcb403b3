"""`liif convert`: copy a model from one checkpoint format to another."""

import argparse
import logging
from pathlib import Path

from liif.commands.arguments.shared import usage_error
from liif.core.errors import UserError
from liif.core.outputs import check_outputs
from liif.hub.pretrained import resolve_checkpoint
from liif.models.checkpoint import read_checkpoint, save_checkpoint, save_weights

log = logging.getLogger("liif")


def run(options: argparse.Namespace) -> int:
    output: Path | None = options.output
    if output is None:
        raise usage_error("convert", "the following arguments are required: -o/--output")
    savers = {".safetensors": save_weights, ".pt": save_checkpoint}
    if output.suffix not in savers:
        raise UserError(f"{output}: must end in {' or '.join(savers)}")
    source = resolve_checkpoint(options.checkpoint)
    check_outputs([output], [source], overwrite=options.overwrite)
    checkpoint = read_checkpoint(source)
    savers[output.suffix](output, checkpoint.model, checkpoint.weights)
    log.info("wrote %s", output)
    return 0
