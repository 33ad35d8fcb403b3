"""What each sub-command does. Here devices are picked, signals taken and results printed."""

import argparse
import ctypes
import json
import logging
import math
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from tqdm import tqdm

from liif.checkpoint import load, read_checkpoint, save_checkpoint, save_weights, write_atomically
from liif.config import TestConfig, TrainConfig
from liif.configfile import load_config
from liif.data.images import image_writer, read_image, write_image
from liif.data.pairs import open_pairs
from liif.data.paths import data_path
from liif.errors import UserError
from liif.evaluate import Means, Score, scores, strips, to_image, to_tensor
from liif.geometry import target_size
from liif.metrics import protocol
from liif.runlog import shows_progress
from liif.train import train
from liif.validation import mean

log = logging.getLogger("liif")


def train_command(options: argparse.Namespace) -> int:
    config = load_config(TrainConfig, options.config, options.set)
    name = options.name or options.config.stem
    if name in (".", "..") or Path(name).name != name:
        raise UserError(f"--name {name}: must be a plain name; the run goes to runs/NAME")
    folder = Path("runs") / name
    resume = options.resume
    if resume not in ("auto", "never"):
        resume = Path(resume)
    device = _device(options.device)
    if device.type == "cpu":
        keep_freed_memory()
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


def test_command(options: argparse.Namespace) -> int:
    config = load_config(TestConfig, options.config, options.set)
    checkpoint = options.checkpoint or _configured_checkpoint(config, options.config)
    device = _device(options.device)
    by = _means(options)
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
        for score in scores(model, pairs, how, by):
            if options.save_images:
                assert score.sr is not None
                write_image(options.save_images / f"{score.name}.png", to_image(score.sr))
            found.append(score._replace(pair=None, sr=None))
            bar.update()
            bar.write(_score_line(score.name, [score]), sys.stdout)
    y, x = config.scale
    title = f"{config.set} x{y:g}" + ("" if y == x else f",{x:g}")
    print(_score_line(f"mean {title}", found) + f"  protocol {config.protocol}")
    if options.out:
        result = {
            "set": config.set,
            "scale": y if y == x else [y, x],
            "protocol": config.protocol,
            **_in_json(found),
            "images": [{"name": score.name, **_in_json([score])} for score in found],
            "lr": lr or "pillow-bicubic",
            "checkpoint": str(checkpoint),
            "precision": by.precision,
            "seconds": round(time.perf_counter() - started, 3),
        }
        write_atomically(options.out, (json.dumps(result, indent=1) + "\n").encode())
    return 0


def upscale_command(options: argparse.Namespace) -> int:
    if (options.scale is None) == (options.size is None):
        raise UserError("give one of --scale and --size")
    by = _means(options)
    _check_target(options.output)
    lr = to_tensor(read_image(options.input))
    H, W = target_size((lr.shape[1], lr.shape[2]), size=options.size, scale=options.scale)
    model = load(options.checkpoint, _device(options.device))
    bar = tqdm(total=H, unit="row", dynamic_ncols=True, disable=not shows_progress())
    with image_writer(options.output, (H, W)) as write, bar:
        for strip in strips(model, lr.to(model.mean), (H, W), by):
            write(to_image(strip))
            bar.update(strip.shape[1])
    log.info("%s: %d×%d px", options.output, W, H)
    return 0


def _means(options: argparse.Namespace) -> Means:
    if options.engine == "reference" and (options.precision != "float32" or options.memory):
        raise UserError("--engine reference knows neither --precision nor --memory")
    return Means(options.engine, options.precision, options.memory)


def convert_command(options: argparse.Namespace) -> int:
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
    except OSError as error:
        reason = "its folder is a file" if file.parent.is_file() else error.strerror
        raise UserError(f"{file}: cannot be written: {reason}") from None


def _averages(found: Sequence[Score]) -> dict[str, float]:
    return {key: mean([getattr(s, key) for s in found]) for key in ("psnr", "ssim", "bicubic")}


def _in_json(found: Sequence[Score]) -> dict[str, float | None]:
    """JSON knows no infinity (equal images) and no NaN (too small for SSIM): null."""
    return {k: value if math.isfinite(value) else None for k, value in _averages(found).items()}


def _score_line(name: str, found: Sequence[Score]) -> str:
    line = "PSNR {psnr:.4f} dB  SSIM {ssim:.4f}  bicubic {bicubic:.4f} dB".format(
        **_averages(found)
    )
    return f"{name:24} {line}"


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


def keep_freed_memory() -> None:
    """Ask the C library (glibc) to keep freed memory for the next allocation: giving a training
    step's large tensors back and getting them anew costs a third of its time in page faults."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(-4, 0)  # M_MMAP_MAX: no block of its own mapping, whatever its size
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nothing back to the system
        library.mallopt(-2, 2**26)  # M_TOP_PAD: grow by 64 MiB


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: must be auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices here")
    return device


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
