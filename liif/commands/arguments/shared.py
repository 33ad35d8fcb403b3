"""Options that several commands share, and what their values are read into."""

import argparse
import math
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from liif.commands.arguments import typed
from liif.commands.arguments.typed import factor
from liif.core.errors import UsageError
from liif.core.shipped import find_config
from liif.models.precision_names import PRECISIONS, Precision

CHECKPOINT = (
    "a run's last.pt, a .safetensors, an official .pth or .pkl file, or a name from `liif models`"
)


class NamedCheckpoint(NamedTuple):
    """A checkpoint as `--checkpoint [NAME=]FILE` gives it."""

    name: str
    """Empty if none was given."""
    file: Path


def named_checkpoint(text: str) -> NamedCheckpoint:
    """Parse [NAME=]FILE; an existing file whose own name contains "=" is a file."""
    name, _, file = text.partition("=")
    if not file or os.path.isfile(os.path.expanduser(text)):
        return NamedCheckpoint("", Path(text))
    return NamedCheckpoint(name, Path(file))


def checkpoint_file(text: str) -> Path:
    """Parse [NAME=]FILE where a name has no use."""
    return named_checkpoint(text).file


def usage_error(command: str, message: str) -> UsageError:
    """Return the error for options that do not make a complete command."""
    return UsageError(f"{message}\nsee liif {command} --help")


def config_file(text: str) -> Path:
    """Parse the file of a configuration, or the name of a shipped one."""
    return find_config(Path(text))


def config_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add --config and --set, for `load_config`."""
    text = "YAML file, or the name of one that is shipped, e.g. %s (see liif config list)"
    text %= "test-set5-x2" if not required else "edsr-liif"
    option = parser.add_argument("--config", type=config_file, metavar="FILE|NAME", help=text)
    option.required = required
    text = "override a value of the configuration, e.g. --set train_data.patch=64"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)


def checkpoint_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --checkpoint [NAME=]FILE, whose file is for `resolve_checkpoint`."""
    text = f"{CHECKPOINT} (default: {default}); a NAME is ignored"
    parser.add_argument("--checkpoint", type=checkpoint_file, metavar="[NAME=]FILE", help=text)


def checkpoints_argument(
    parser: argparse.ArgumentParser,
    text: str,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Add --checkpoint [NAME=]FILE for a list of NamedCheckpoint. The kinds of files are added to
    the help, `text`; `settings` are further ones of `add_argument`."""
    text = f"{text}; FILE is {CHECKPOINT}"
    settings = {"action": "append", "metavar": "[NAME=]FILE", "help": text, **settings}
    parser.add_argument("--checkpoint", type=named_checkpoint, default=[], **settings)


def metric_argument(parser: argparse.ArgumentParser, pixels: str) -> None:
    """Add --metric; `pixels` says which pixels are scored."""
    text = f"also score by a metric of the package pyiqa, by its name there, {pixels}, e.g. lpips, "
    text += 'dists, niqe or musiq; repeatable (needs pip install "liif[iqa]")'
    parser.add_argument(
        "--metric", nargs="+", action="extend", default=[], metavar="NAME", help=text
    )


def json_argument(parser: argparse.ArgumentParser) -> None:
    """Add --json, for lists."""
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")


def overwrite_argument(parser: argparse.ArgumentParser) -> None:
    """Add --overwrite, for `check_output`."""
    text = "overwrite existing results (never inputs)"
    parser.add_argument("--overwrite", action="store_true", help=text)


def size_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --scale, --size, --fit, --width and --height, for `output_spec`."""
    text = "scale factor, e.g. 2, x2 or 2.5, or factors of height and width (default: 4); a side "
    text += "scaled by 1 or less is resized by antialiased bicubic instead of the model"
    metavar = "S or SYxSX"
    parser.add_argument("-s", "--scale", type=typed.scale, metavar=metavar, help=text)
    text = "output size in pixels; the aspect ratio is kept (see --fit)"
    parser.add_argument("--size", type=typed.size, metavar="WxH", help=text)
    text = "with --size: contain (default) fits the whole picture within it, cover fills it and "
    text += "crops the rest on both sides, stretch distorts the picture"
    parser.add_argument("--fit", choices=("contain", "cover", "stretch"), help=text)
    for name in ("width", "height"):
        text = f"output {name}; keeps the aspect ratio; with both, as --size"
        parser.add_argument(f"--{name}", type=typed.side, metavar="N", help=text)


class _SetIfGiven(argparse.Action):
    def __call__(
        self, parser: object, namespace: object, values: object, option_string: object = None
    ) -> None:
        if values is not None:
            setattr(namespace, self.dest, values)


def hidden_positionals(parser: argparse.ArgumentParser, *names: str) -> None:
    """Accept the values of options as positional arguments, too, as version 0.1 did."""
    for name in names:
        parser.add_argument(name, nargs="?", type=Path, action=_SetIfGiven, help=argparse.SUPPRESS)


def device_argument(parser: argparse.ArgumentParser) -> None:
    """Add --device, for `select_device`."""
    text = "auto (CUDA if available, else the CPU), cpu, cuda, cuda:N or mps (Apple, untested) "
    text += "(default: auto)"
    parser.add_argument("--device", type=_device, default="auto", metavar="DEVICE", help=text)


def _device(text: str) -> str:
    name = text.lower()
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,4})?", name, re.ASCII):
        hint = "; there is one CPU, without a number" if name.startswith("cpu:") else ""
        message = f"{text or 'no text'}: must be auto, cpu, cuda, cuda:N or mps{hint}"
        raise argparse.ArgumentTypeError(message)
    return name


def precision_argument(parser: argparse.ArgumentParser, default: Precision) -> None:
    """Add --precision."""
    text = "auto: the fastest on this device; tf32: faster on NVIDIA GPUs from Ampere on; bf16, "
    text += "fp16: several times as fast on hardware with such units, loss < 0.01 dB, and replaced "
    text += f"by float32 elsewhere (bf16!, fp16!: used all the same) (default: {default})"
    names = "|".join(PRECISIONS)
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=default, metavar=names, help=text
    )


def inference_arguments(
    parser: argparse.ArgumentParser, *, precision: Precision = "float32", scoring: bool = False
) -> None:
    """Add --device, for `select_device`, and the options for `inference_options`, with a default
    precision; with `scoring` also --round."""
    device_argument(parser)
    precision_argument(parser, precision)
    text = "reference: the published formulation, slow"
    parser.add_argument("--engine", choices=("fast", "reference"), default="fast", help=text)
    text = "memory budget for tiling, e.g. 500M or 2G (default: 1G on a CPU, half of the free "
    text += "memory on a GPU)"
    parser.add_argument("--memory", type=_bytes, metavar="SIZE", help=text)
    text = "average over the eight flips and transpositions of the input; eight times the work"
    parser.add_argument("--self-ensemble", action="store_true", help=text)
    text = (
        "average over the four rotations of the input, as published for Thera; four times the work"
    )
    parser.add_argument("--rotation-ensemble", action="store_true", help=text)
    text = "beyond this scale give the decoder the cell of this scale, e.g. 4 after training to x4"
    parser.add_argument("--clip-cell", type=factor, metavar="S", default=math.inf, help=text)
    text = "enlarge by this factor with the model, and from there to the output size with Lanczos"
    parser.add_argument("--lanczos-from", type=factor, metavar="S", help=text)
    if scoring:
        text = "round results to 8 bit before scoring"
        parser.add_argument("--round", action="store_true", help=text)


def port(text: str) -> int:
    """Parse the number of a port."""
    if not 0 <= typed.whole(text) < 2**16:
        raise argparse.ArgumentTypeError(f"{text}: must be a number up to 65535")
    return typed.whole(text)


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    number = float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ") if found else 0
    if not 1 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text}: must be a size such as 500M or 2G")
    return int(number)
