"""What several commands make of their options, and checks that they share."""

import argparse
from contextlib import suppress
from pathlib import Path

import yaml

from liif.commands.arguments.shared import usage_error
from liif.core.config_file import MAX_BASES, base_file
from liif.core.errors import UserError
from liif.core.sizes import OutputSpec
from liif.inference.predict import InferenceOptions
from liif.models.model import SRModel

DEFAULT_SIZE = OutputSpec((4.0, 4.0))
"""The size of results where none is asked for."""


def inference_options(options: argparse.Namespace) -> InferenceOptions:
    """Return the chosen inference options; UsageError for a contradictory combination."""
    exact = options.precision in ("auto", "float32")
    if options.engine == "reference" and (not exact or options.memory):
        text = "--engine reference supports neither --precision nor --memory"
        raise usage_error(options.command, text)
    if options.self_ensemble and options.rotation_ensemble:
        text = "--self-ensemble includes the rotations of --rotation-ensemble; give one"
        raise usage_error(options.command, text)
    fields = [field for field in InferenceOptions._fields if field in options]
    inference = InferenceOptions(**{field: getattr(options, field) for field in fields})
    return inference if inference.engine == "fast" else inference._replace(precision="float32")


def output_spec(options: argparse.Namespace) -> OutputSpec | None:
    """Return the chosen output size, or None; UsageError for contradictory options."""
    size, width, height = options.size, options.width, options.height
    if width is not None and height is not None and size is None:
        size, width, height = (height, width), None, None
    given = [each for each in (options.scale, size, width, height) if each is not None]
    if len(given) > 1:
        text = "give one of --scale, --size, --width and --height (or the last two)"
        raise usage_error(options.command, text)
    if options.fit and size is None:
        raise usage_error(options.command, "--fit requires --size")
    if not given:
        return None
    height, width = size or (height, width)
    return OutputSpec(options.scale, height, width, fit=options.fit or "contain")


def check_is_rgb(model: SRModel, what: str) -> None:
    """Raise UserError if a model is not one of RGB images, which this option or command needs."""
    channels = model.channels
    if (channels.input, channels.output) != (3, 3):
        raise UserError(
            f"{what}: needs a model of RGB images; this one has {channels.input} channels in and "
            f"{channels.output} out"
        )


def config_files(file: Path) -> list[Path]:
    """Return a configuration and the files that it is based on, as far as they can be read."""
    files = [file]
    errors = (OSError, ValueError, TypeError, AttributeError, RecursionError, yaml.YAMLError)
    with suppress(*errors):  # `load_config` reports them for the configurations that are used
        while files[-1].is_file() and len(files) <= MAX_BASES:
            text = files[-1].read_text(encoding="utf-8")
            base = yaml.safe_load(text).get("base")
            files.append(base_file(files[-1], base))
    return files
