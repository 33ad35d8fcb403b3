"""`liif compare`: a sheet of an input, bicubic, the model and the ground truth."""

import argparse
import logging
from pathlib import Path

from liif.commands import options as shared
from liif.commands.device import select_device
from liif.core.outputs import check_outputs
from liif.core.sizes import OutputSpec
from liif.figures.compare import comparison
from liif.figures.sheets import check_sheet, write_sheet
from liif.hub.pretrained import load, resolve_checkpoint
from liif.images.photo import photo_size, read_photo

log = logging.getLogger("liif")


def run(options: argparse.Namespace) -> int:
    photo_file: Path = options.input
    output: Path = options.output or photo_file.with_name(f"{photo_file.stem}-compared.png")
    inference, spec = shared.inference_options(options), shared.output_spec(options)
    checkpoint = resolve_checkpoint(options.checkpoint)
    check_sheet(output)
    inputs = [photo_file, options.reference, checkpoint]
    check_outputs([output], inputs, overwrite=options.overwrite)
    reference = None
    if options.reference:
        reference = next(read_photo(options.reference))
        spec = spec or OutputSpec(None, *reference.size)
    size = (spec or shared.DEFAULT_SIZE).target(photo_size(photo_file))
    device = select_device(options.device)
    model = load(checkpoint, device)
    shared.check_is_rgb(model, "compare")
    photo = next(read_photo(photo_file))
    sheet, scores = comparison(
        model, photo, size, photo_file.name, options.box, reference, inference
    )
    write_sheet(output, sheet)
    log.info("%s: %s", output, scores)
    return 0
