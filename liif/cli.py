"""The command line: what can be asked for, and how mistakes are told."""

import argparse
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from liif.commands import convert_command, test_command, train_command, upscale_command
from liif.errors import UserError
from liif.runlog import shows_progress

log = logging.getLogger("liif")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}\nsee {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns the exit status: 0 done, 1 the user's mistake, 130 Ctrl-C."""
    try:
        options = _parser().parse_args(arguments)
        _set_up_logging()
        return options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        known = re.search("(allocate|out of) memory", str(error))
        if isinstance(error, RuntimeError) and not known:
            raise
        print(f"error: not enough memory: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads our output has seen enough, as in `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="liif", description="Super-resolution of any scale: train, test, use.")
    parsers = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Callable[..., int], summary: str, example: str) -> _Parser:
        sub = parsers.add_parser(
            name, help=summary, description=summary, epilog=f"example: liif {name} {example}"
        )
        sub.set_defaults(run=run)
        sub.add_argument(
            "--device", default="auto", help="auto (CUDA if there is one), cpu, cuda or cuda:N"
        )
        return sub

    def configured(sub: _Parser) -> None:
        sub.add_argument("--config", type=Path, required=True, metavar="FILE", help="YAML file")
        text = "override a value of the configuration, e.g. --set train_data.patch=64"
        sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)

    def enlarging(sub: _Parser) -> None:
        text = "bf16 is several times as fast where the machine has units for it (loss < 0.01 dB)"
        sub.add_argument("--precision", choices=("float32", "bf16"), default="float32", help=text)
        text = "reference: the published formulation, plain and slow"
        sub.add_argument("--engine", choices=("fast", "reference"), default="fast", help=text)
        text = "budget for what is in work at a time, e.g. 500M or 2G (default: 1G on a CPU, half "
        text += "of what is free on a GPU); beyond it images are worked through in tiles"
        sub.add_argument("--memory", type=_bytes, metavar="SIZE", help=text)

    sub = command("train", train_command, "Train a model.", "--config configs/edsr-liif.yaml")
    configured(sub)
    sub.add_argument("--name", help="the run's folder is runs/NAME (default: the config's name)")
    text = "auto: go on where the run stopped (default); never: refuse to; FILE: from there"
    sub.add_argument("--resume", default="auto", metavar="auto|never|FILE", help=text)

    sub = command(
        "test",
        test_command,
        "Score a model on a set of images.",
        "--config configs/test-set5-x2.yaml",
    )
    configured(sub)
    sub.add_argument("--checkpoint", type=Path, metavar="FILE", help="instead of the config's")
    enlarging(sub)
    sub.add_argument("--out", type=Path, metavar="FILE.json", help="write the scores there")
    sub.add_argument("--save-images", type=Path, metavar="DIR", help="write the results there")

    example = "photo.jpg large.png --scale 3.7 --checkpoint runs/edsr-liif/last.pt"
    sub = command("upscale", upscale_command, "Enlarge a picture to any size.", example)
    sub.add_argument("input", type=Path)
    sub.add_argument("output", type=Path)
    sub.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    sub.add_argument("--scale", type=_scale, metavar="S or SY,SX", help="factor (height, width)")
    sub.add_argument("--size", type=_size, metavar="WxH", help="size of the result in pixels")
    enlarging(sub)

    text = "Write the weights of a checkpoint, ours or an official one, as .safetensors or .pt."
    sub = command(
        "convert", convert_command, text, "edsr-baseline-liif.pth edsr-baseline-liif.safetensors"
    )
    sub.add_argument("input", type=Path)
    sub.add_argument("output", type=Path)
    return parser


def _scale(text: str) -> tuple[float, float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 < n <= 1000 for n in numbers):
        raise argparse.ArgumentTypeError(f"{text}: must be a number above 0, up to 1000, or SY,SX")
    return numbers[0], numbers[-1]


def _size(text: str) -> tuple[int, int]:
    width, by, height = text.lower().partition("x")
    sides = [int(s) if s.isascii() and s.isdecimal() else 0 for s in (width, height)]
    if not by or not 1 <= min(sides) <= max(sides) <= 10**6:
        raise argparse.ArgumentTypeError(f"{text}: must be WIDTHxHEIGHT, e.g. 3840x2160")
    return sides[1], sides[0]


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    number = float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ") if found else 0
    if not 1 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text}: must be a size such as 500M or 2G")
    return int(number)


class _AboveTheBar(logging.Handler):
    """Writes a line to standard error without breaking a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def _set_up_logging() -> None:
    """People read the log on standard error; a progress bar tells the steps where there is one."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold what it cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    log.handlers.clear()
    log.setLevel(logging.DEBUG)
    handler = _AboveTheBar()
    handler.setLevel(logging.INFO if shows_progress() else logging.DEBUG)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
