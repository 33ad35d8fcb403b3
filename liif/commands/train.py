"""`liif train`: train in a run folder, save and stop on signals."""

import argparse
import logging
import shlex
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from liif.commands.arguments.shared import config_file, usage_error
from liif.commands.arguments.train import SMALL
from liif.commands.device import keep_freed_memory, select_device
from liif.commands.options import config_files
from liif.core.config_file import load_config
from liif.core.distributed import Team, joined
from liif.core.errors import UserError
from liif.core.outputs import FileSet
from liif.data.loader import STOPS
from liif.training.config import TrainConfig
from liif.training.lock import occupied
from liif.training.resume import has_checkpoints
from liif.training.train import train

RUN_FILES = ("config.yaml", "record.json", "metrics.jsonl", "log.txt", "test.json")
"""Files that a run replaces or appends to, beside its checkpoints."""

log = logging.getLogger("liif")


def run(options: argparse.Namespace) -> int:
    device = select_device(options.device)
    keep_freed_memory(device)
    with joined(device) as team:
        file = _config_file(options)
        config = load_config(TrainConfig, file, options.set)
        if options.data:
            config = _with_images(config, options)
        name = options.name or (options.data.resolve().name if options.data else file.stem)
        if name in (".", "..") or Path(name).name != name:
            raise UserError(f"--name {name}: must be a plain name; the run folder is runs/NAME")
        folder = Path("runs") / name
        resume = options.resume if options.resume in ("auto", "never") else Path(options.resume)
        if team.leads:
            _check_folder(folder, config, config_files(file))
        if options.dry_run:
            train(config, folder, team=team, resume=resume, dry_run=True)
            return 0
        alone = occupied(folder) if team.leads else nullcontext()
        with alone, _log_file(folder, team), _stop_on_signals() as received:
            if train(config, folder, team=team, resume=resume, stopping=lambda: bool(received)):
                log.info("done: %s", folder / "last.pt")
                return 0
            again = "the same torchrun command" if team.size > 1 else _same_command(sys.argv)
            log.warning("stopped and saved in %s; to resume: %s", folder / "last.pt", again)
            # If no signal was received here, another process was told to stop.
            return 128 + (received[0] if received else signal.SIGTERM)


def _config_file(options: argparse.Namespace) -> Path:
    if options.config or options.data:
        return options.config or config_file(SMALL)
    raise usage_error("train", "give --config FILE, --data FOLDER with images, or both")


def _with_images(config: TrainConfig, options: argparse.Namespace) -> TrainConfig:
    """Return the configuration with the folder of --data in place of its training images."""
    if not hasattr(config.train_data, "images"):
        kind = config.train_data.sampling
        text = f"--data: sampling: {kind} needs two folders; use --set train_data.hr=… and lr"
        raise usage_error("train", text)
    folder = str(options.data.expanduser().absolute())
    data = config.train_data.model_copy(update={"images": folder})
    return config.model_copy(update={"train_data": data})


def _check_folder(folder: Path, config: TrainConfig, inputs: Sequence[Path]) -> None:
    """Raise UserError if the run would replace a configuration that it is started with by another
    one, or files that no run wrote."""
    written = folder / "config.yaml"
    is_own = has_checkpoints(folder) or (folder / ".lock").exists()
    if FileSet(inputs).find(written) is not None:
        if not is_own or load_config(TrainConfig, written) != config:
            raise UserError(
                f"{written}: is an input, and the run would replace it; choose another --name"
            )
    elif not is_own:
        for name in RUN_FILES:
            if (folder / name).exists():
                text = f"{folder}: holds a file {name}, but no run; choose another --name"
                raise UserError(text)


@contextmanager
def _log_file(folder: Path, team: Team) -> Generator[None, None, None]:
    """Write the whole log with times to log.txt in the run folder, too; one process does."""
    if not team.leads:
        yield
        return
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
    """Collect SIGINT, SIGTERM and SIGUSR1 (sent by schedulers ahead of the end) for the training
    loop, which looks after each step; a second signal interrupts at once."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, receive) for number in STOPS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _same_command(arguments: list[str]) -> str:
    """Return the command line without --resume and its value."""
    kept = ["python"] if arguments[0].endswith(".py") else []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if "--resume" not in (before, argument) and not argument.startswith("--resume="):
            kept.append(argument)
    return shlex.join(kept)
