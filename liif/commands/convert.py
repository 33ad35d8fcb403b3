"""`liif convert`: copy a model from one checkpoint format to another."""

import argparse
import logging
from pathlib import Path

from liif.commands.arguments.shared import usage_error
from liif.core.config_file import read_values, validated
from liif.core.errors import UserError
from liif.core.outputs import check_outputs
from liif.core.shipped import find_config
from liif.hub.catalog import find_model
from liif.hub.pretrained import resolve_checkpoint
from liif.models.build import ModelConfig
from liif.models.checkpoint import (
    read_checkpoint,
    save_checkpoint,
    save_official,
    save_weights,
)

log = logging.getLogger("liif")

SAVERS = {
    "official": save_official,
    "liif": save_checkpoint,
    "safetensors": save_weights,
}
LAYOUTS = {".pth": "official", ".pt": "liif", ".safetensors": "safetensors"}
"""What a file is written as, by its name."""


def run(options: argparse.Namespace) -> int:
    output: Path | None = options.output
    if output is None:
        raise usage_error("convert", "the following arguments are required: -o/--output")
    layout = options.to or LAYOUTS.get(output.suffix.lower())
    if layout is None:
        raise UserError(
            f"{output}: must end in .safetensors or .pt, or in .pth for the official layout; or "
            f"name the layout: --to {'|'.join(SAVERS)}"
        )
    if (layout == "safetensors") != (output.suffix.lower() == ".safetensors"):
        raise UserError(f"{output}: --to {layout} does not fit the ending of the name")
    source = resolve_checkpoint(options.checkpoint)
    check_outputs([output], [source], overwrite=options.overwrite)
    arch = None if options.arch is None else model_of(options.arch)
    checkpoint = read_checkpoint(source, arch)
    SAVERS[layout](output, checkpoint.model, checkpoint.weights)
    log.info("wrote %s, layout %s", output, layout)
    return 0


def model_of(arch: str) -> ModelConfig:
    """Return the configuration of a model: that of the catalog's model of this name, or the section
    `model` of a configuration, a file or a shipped one by name. Raises UserError if there is none,
    or it is not valid."""
    named = find_model(arch)
    if named is not None:
        return named.model
    path = find_config(Path(arch))
    values, origins = read_values(path)
    if "model" in values:
        found = {keys[1:]: file for keys, file in origins.items() if keys[0] == "model"}
        return validated(ModelConfig, values["model"], {k: v for k, v in found.items() if k}, path)
    return validated(ModelConfig, values, origins, path)
