"""`liif export`: write a model as two graphs that run without this package."""

import argparse
import logging

from liif.core.outputs import check_outputs
from liif.hub.export import FORMATS, export
from liif.hub.pretrained import resolve_checkpoint
from liif.models.checkpoint import read_checkpoint

log = logging.getLogger("liif")


def run(options: argparse.Namespace) -> int:
    suffix, _ = FORMATS[options.format]
    names = (f"encoder{suffix}", f"decoder{suffix}", "model.json")
    outputs = [options.output / name for name in names]
    source = resolve_checkpoint(options.checkpoint)
    check_outputs(outputs, [source], overwrite=options.overwrite)
    checkpoint = read_checkpoint(source)
    for file in export(checkpoint, options.output, options.format, options.precision):
        log.info("wrote %s", file)
    return 0
