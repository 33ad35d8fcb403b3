"""`liif export`: write a model as two graphs that run without this package."""

import argparse
import logging

from liif.commands import options as shared
from liif.hub.export import FORMATS, export
from liif.hub.pretrained import resolve_checkpoint
from liif.models.checkpoint import read_checkpoint

log = logging.getLogger("liif")


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
