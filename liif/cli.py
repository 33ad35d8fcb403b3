"""The command line: the only place that picks a device, sets up logging, takes signals, prints."""

import argparse
import io
import json
import logging
import math
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from liif.checkpoint import load, read_checkpoint, save_checkpoint, save_weights, write_atomically
from liif.config import TestConfig, TrainConfig, load_config
from liif.data.images import read_image, write_image
from liif.data.pairs import open_pairs
from liif.data.paths import data_path
from liif.errors import UserError
from liif.evaluate import Score, scores, to_image, to_tensor
from liif.metrics import protocol
from liif.runlog import shows_progress
from liif.train import train
from liif.validation import mean

log = logging.getLogger("liif")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}\nsee {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns the exit status: 0 done, 1 the user's mistake, 130 Ctrl-C."""
    try:
        options = _parser().parse_args(arguments)
        _set_up_logging()
        with logging_redirect_tqdm([log]):
            return options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and (
            "can't allocate memory" not in str(error)  # PyTorch has no class for it on the CPU
        ):
            raise
        print(f"error: not enough memory: {error or 'it is used up'}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads our output has seen enough, as in `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="liif", description="Super-resolution of any scale: train, test, use.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Callable[..., int], summary: str, example: str) -> _Parser:
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        sub.add_argument(
            "--device", default="auto", help="auto (CUDA if there is one), cpu, cuda or cuda:N"
        )
        return sub

    def configured(sub: _Parser) -> None:
        sub.add_argument("--config", type=Path, required=True, metavar="FILE", help="YAML file")
        sub.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="override a value of the configuration, e.g. --set train_data.patch=64",
        )

    sub = command("train", _train, "Train a model.", "liif train --config configs/edsr-liif.yaml")
    configured(sub)
    sub.add_argument("--name", help="the run's folder is runs/NAME (default: the config's name)")
    sub.add_argument(
        "--resume",
        default="auto",
        metavar="auto|never|FILE",
        help="auto: go on where the run stopped (default); never: refuse to; FILE: from there",
    )

    sub = command(
        "test",
        _test,
        "Score a model on a set of images.",
        "liif test --config configs/test-set5-x2.yaml --checkpoint runs/edsr-liif/last.pt",
    )
    configured(sub)
    sub.add_argument("--checkpoint", type=Path, metavar="FILE", help="instead of the config's")
    sub.add_argument("--out", type=Path, metavar="FILE.json", help="write the scores there")
    sub.add_argument("--save-images", type=Path, metavar="DIR", help="write the results there")

    sub = command(
        "upscale",
        _upscale,
        "Enlarge a picture to any size.",
        "liif upscale photo.jpg large.png --scale 3.7 --checkpoint runs/edsr-liif/last.pt",
    )
    sub.add_argument("input", type=Path)
    sub.add_argument("output", type=Path)
    sub.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    sub.add_argument("--scale", type=_scale, metavar="S or SY,SX", help="factor (height, width)")
    sub.add_argument("--size", type=_size, metavar="WxH", help="size of the result in pixels")

    sub = command(
        "convert",
        _convert,
        "Write the weights of a checkpoint, ours or an official one, as .safetensors or .pt.",
        "liif convert edsr-baseline-liif.pth edsr-baseline-liif.safetensors",
    )
    sub.add_argument("input", type=Path)
    sub.add_argument("output", type=Path)
    return parser


def _train(options: argparse.Namespace) -> int:
    config = load_config(TrainConfig, options.config, options.set)
    name = options.name or options.config.stem
    if name in (".", "..") or Path(name).name != name:
        raise UserError(f"--name {name}: must be a plain name; the run goes to runs/NAME")
    folder = Path("runs") / name
    resume = options.resume
    if resume not in ("auto", "never"):
        resume = Path(resume)
    device = _device(options.device)
    with _log_file(folder), _stop_on_signals() as received:
        finished = train(
            config, folder, device=device, resume=resume, stopping=lambda: bool(received)
        )
        if finished:
            log.info("done: %s", folder / "last.pt")
            return 0
        again = _command_line(_without(sys.argv, "--resume"))
        log.warning("stopped and saved in %s; to go on: %s", folder / "last.pt", again)
        return 128 + received[0]


def _test(options: argparse.Namespace) -> int:
    config = load_config(TestConfig, options.config, options.set)
    checkpoint = options.checkpoint or _configured_checkpoint(config, options.config)
    device = _device(options.device)
    if options.out:
        _check_target(options.out)
    if options.save_images:
        _check_target(options.save_images / "image.png")
    model = load(checkpoint, device)
    lr = config.published_lr
    pairs = open_pairs(
        data_path(config.data_root, config.hr),
        scale=config.scale,
        lr=None if lr is None else data_path(config.data_root, lr),
    )
    how = protocol(config.protocol, config.scale)
    started = time.perf_counter()
    found: list[Score] = []
    bar = tqdm(total=len(pairs), unit="image", dynamic_ncols=True, disable=not shows_progress())
    with bar:
        for score in scores(model, pairs, how):
            if options.save_images:
                assert score.sr is not None
                write_image(options.save_images / f"{score.name}.png", to_image(score.sr))
            found.append(score._replace(pair=None, sr=None))
            bar.update()
            bar.write(_score_line(score.name, score.psnr, score.ssim, score.bicubic), sys.stdout)
    psnr, ssim = mean([s.psnr for s in found]), mean([s.ssim for s in found])
    bicubic = mean([s.bicubic for s in found])
    y, x = config.scale
    title = f"{config.set} x{y:g}" + ("" if y == x else f",{x:g}")
    print(_score_line(f"mean {title}", psnr, ssim, bicubic) + f"  protocol {config.protocol}")
    if options.out:
        result = {
            "set": config.set,
            "scale": y if y == x else [y, x],
            "protocol": config.protocol,
            **_in_json(psnr=psnr, ssim=ssim, bicubic=bicubic),
            "images": [
                {"name": s.name, **_in_json(psnr=s.psnr, ssim=s.ssim, bicubic=s.bicubic)}
                for s in found
            ],
            "lr": lr or "pillow-bicubic",
            "checkpoint": str(checkpoint),
            "seconds": round(time.perf_counter() - started, 3),
        }
        write_atomically(options.out, (json.dumps(result, indent=1) + "\n").encode())
    return 0


def _upscale(options: argparse.Namespace) -> int:
    if (options.scale is None) == (options.size is None):
        raise UserError("give one of --scale and --size")
    _check_target(options.output)
    image = read_image(options.input)
    model = load(options.checkpoint, _device(options.device))
    out = model.upscale(to_tensor(image), options.size, scale=options.scale)
    write_image(options.output, to_image(out))
    log.info("%s: %d×%d px", options.output, out.shape[2], out.shape[1])
    return 0


def _convert(options: argparse.Namespace) -> int:
    savers = {".safetensors": save_weights, ".pt": save_checkpoint}
    save = savers.get(options.output.suffix)
    if save is None:
        raise UserError(f"{options.output}: must end in {' or '.join(savers)}")
    if options.output.exists():
        raise UserError(f"{options.output}: exists already; choose another name")
    _check_target(options.output)
    checkpoint = read_checkpoint(options.input)
    save(options.output, checkpoint.model, checkpoint.weights)
    log.info("wrote %s", options.output)
    return 0


def _check_target(file: Path) -> None:
    """Find out before the work, not after it, that its result cannot be written."""
    if file.is_dir():
        raise UserError(f"{file}: is a folder; give the name of a file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=file.parent).close()
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{file}: cannot be written: its folder is a file") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror or error}") from None


def _in_json(**values: float) -> dict[str, float | None]:
    """JSON knows no infinity (equal images) and no NaN (too small for SSIM): null."""
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def _score_line(name: str, psnr: float, ssim: float, bicubic: float) -> str:
    return f"{name:24} PSNR {psnr:.4f} dB  SSIM {ssim:.4f}  bicubic {bicubic:.4f} dB"


def _configured_checkpoint(config: TestConfig, file: Path) -> Path:
    """The checkpoint that a test's configuration names."""
    if config.checkpoint is None:
        raise UserError(f"{file}: names no checkpoint; give one with --checkpoint FILE")
    path = Path(config.checkpoint).expanduser()
    if path.exists():
        return path
    trained_by = file.parent / f"{path.parent.name}.yaml"
    if not trained_by.exists():
        raise UserError(f"{file}: no checkpoint at {path}; give another with --checkpoint FILE")
    raise UserError(
        f"no checkpoint at {path}; train it with\n"
        f"  python scripts/train.py --config {trained_by}\nor give another with --checkpoint FILE"
    )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: must be auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices here")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: must be auto, cpu, cuda or cuda:N")
    return device


def _scale(text: str) -> tuple[float, float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 < n <= 1000 for n in numbers):
        raise argparse.ArgumentTypeError(
            f"{text}: must be a number above 0, at most 1000, or two: SY,SX"
        )
    return numbers[0], numbers[-1]


def _size(text: str) -> tuple[int, int]:
    width, by, height = text.lower().partition("x")
    sides = [int(s) if s.isascii() and s.isdecimal() else 0 for s in (width, height)]
    if not by or not 1 <= min(sides) <= max(sides) <= 10**6:
        raise argparse.ArgumentTypeError(f"{text}: must be WIDTHxHEIGHT, e.g. 3840x2160")
    return sides[1], sides[0]


def _set_up_logging() -> None:
    """People read the log on standard error; a progress bar tells the steps where there is one."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold what it cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    log.handlers.clear()
    log.setLevel(logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.INFO if shows_progress() else logging.DEBUG)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)


@contextmanager
def _log_file(folder: Path) -> Generator[None, None, None]:
    """All of the log, with times, in the run's folder as well."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(folder / "log.txt", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    except UserError as error:
        log.handlers[-1].emit(log.makeRecord("liif", logging.ERROR, "", 0, str(error), (), None))
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


@contextmanager
def _stop_on_signals() -> Generator[list[int], None, None]:
    """Collects SIGINT and SIGTERM for a loop that looks; a second one interrupts at once."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {s: signal.signal(s, receive) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _without(arguments: Sequence[str], option: str) -> list[str]:
    """A command line without one option and its value."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if not skip and argument != option and not argument.startswith(f"{option}="):
            kept.append(argument)
        skip = argument == option
    return kept


def _command_line(arguments: Sequence[str]) -> str:
    start = ["python"] if arguments[0].endswith(".py") else []
    return shlex.join([*start, *arguments])
