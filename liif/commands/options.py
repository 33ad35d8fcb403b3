"""Options that several commands share, and the files that they name."""

import argparse
import math
import re
import tempfile
from pathlib import Path

from liif.core.errors import UserError
from liif.inference.predict import InferenceOptions

CHECKPOINT = (
    "a model: a name that `liif models` lists, a run's last.pt, a .safetensors or an official .pth"
)


def config_arguments(parser: argparse.ArgumentParser) -> None:
    """--config and --set, for `configfile.load_config`."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="YAML file")
    text = "override a value of the configuration, e.g. --set train_data.patch=64"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)


def checkpoint_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """--checkpoint, for `pretrained.resolve_checkpoint`; what is used without it."""
    text = f"{CHECKPOINT} (default: {default})"
    parser.add_argument("--checkpoint", type=Path, metavar="NAME|FILE", help=text)


def checkpoint_input(parser: argparse.ArgumentParser) -> None:
    """A positional checkpoint, for `pretrained.resolve_checkpoint`."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=CHECKPOINT)


def inference_arguments(parser: argparse.ArgumentParser) -> None:
    """By what means a model enlarges, for `inference_options`."""
    text = "bf16 is several times as fast where the machine has units for it (loss < 0.01 dB)"
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32", help=text)
    text = "reference: the published formulation, plain and slow"
    parser.add_argument("--engine", choices=("fast", "reference"), default="fast", help=text)
    text = "budget for what is in work at a time, e.g. 500M or 2G (default: 1G on a CPU, half "
    text += "of what is free on a GPU); beyond it images are worked through in tiles"
    parser.add_argument("--memory", type=_bytes, metavar="SIZE", help=text)
    text = "average the eight flips and transpositions of the input; eight times the work"
    parser.add_argument("--self-ensemble", action="store_true", help=text)
    text = "beyond this scale give the decoder the cell of this scale, e.g. 4 after training to x4"
    parser.add_argument("--clip-cell", type=_factor, metavar="S", default=math.inf, help=text)
    text = "enlarge by this factor with the model, and from there to the size asked for by Lanczos"
    parser.add_argument("--lanczos-from", type=_factor, metavar="S", help=text)


def scoring_arguments(parser: argparse.ArgumentParser) -> None:
    """--round, for `inference_options`."""
    text = "round results to 8 bit before scoring"
    parser.add_argument("--round", action="store_true", help=text)


def inference_options(options: argparse.Namespace) -> InferenceOptions:
    """Raises UserError for options that do not go together."""
    if options.engine == "reference" and (options.precision != "float32" or options.memory):
        raise UserError("--engine reference knows neither --precision nor --memory")
    chosen = {
        field: getattr(options, field) for field in InferenceOptions._fields if field in options
    }
    return InferenceOptions(**chosen)


def check_target(file: Path) -> None:
    """Find out before the work, not after it, that its result cannot be written."""
    if file.is_dir():
        raise UserError(f"{file}: is a folder; give the name of a file")
    if file.exists() and not file.is_file():  # a file would take its place, as of /dev/null
        raise UserError(f"{file}: is a pipe or a device; give the name of a file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        reason = "its folder is a file" if file.parent.is_file() else error.strerror
        raise UserError(f"{file}: cannot be written: {reason}") from None


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0
    if not 1 <= factor <= 1000:
        raise argparse.ArgumentTypeError(f"{text}: must be a number from 1 to 1000")
    return factor


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    number = float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ") if found else 0
    if not 1 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text}: must be a size such as 500M or 2G")
    return int(number)
