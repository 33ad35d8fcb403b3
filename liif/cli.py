"""The command `liif`: parse the command line, run a sub-command, report errors in one line.

Help imports nothing heavy: the module of a command, and with it PyTorch, is imported only when the
command runs.
"""

import argparse
import io
import logging
import os
import platform
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from liif import __version__
from liif.commands.arguments.typed import path
from liif.core.environment import rank_of_environment, shows_progress
from liif.core.errors import UsageError, UserError

COMMANDS = {
    "train": "Train a model.",
    "runs": "List training runs, their state and how to resume them.",
    "test": "Evaluate a model on a set of images.",
    "tables": "Measure a table of the paper and compare it with the published numbers.",
    "metrics": "Score images by any protocol; find the protocol of a published number.",
    "plot": "Plot PSNR over scale, training curves or side-by-side crops.",
    "upscale": "Enlarge images to any size.",
    "compare": "Compare a model with bicubic on parts of an image.",
    "view": "Explore an image at any scale in the browser.",
    "demo": "Serve a page of Gradio that enlarges pictures.",
    "convert": "Convert a checkpoint to .safetensors or .pt, or to the official layout (.pth).",
    "export": "Export encoder and decoder as graphs for other programs (ONNX, torch.export).",
    "models": "List, download, show and convert models; list decoders and encoders.",
    "download": "The same as `liif data download`.",
    "data": "List, download and check data sets; draw training samples.",
    "config": "List configurations; print one resolved, or the JSON Schema of all.",
    "completion": "Print a completion script for your shell.",
}
"""Each command and its summary. Its options are in the module of that name in
liif.commands.arguments, what it does is in that of liif.commands."""

VERBOSITY = (
    ("-v", "verbose", "log every step, and where an error comes from"),
    ("-q", "quiet", "print results, warnings and errors only"),
)

log = logging.getLogger("liif")


class _Parser(argparse.ArgumentParser):
    """A parser of `liif` or of a sub-command: each has the options for more and for less output."""

    def __init__(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **settings)
        # A default here would replace what was given before the name of the sub-command.
        amount = self.add_mutually_exclusive_group()
        for short, name, text in VERBOSITY:
            action, unset = "store_true", argparse.SUPPRESS
            amount.add_argument(short, f"--{name}", action=action, default=unset, help=text)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:  # noqa: ANN401
        """As argparse does it; paths may not be empty."""
        if settings.get("type") is Path:
            settings["type"] = path
        return super().add_argument(*names, **settings)

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        args: Any = None,  # noqa: ANN401
        namespace: Any = None,  # noqa: ANN401
    ) -> tuple[Any, list[str]]:
        """Refuse unknown arguments in the parser of the sub-command, which names its own help."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        if rank_of_environment():  # all processes of torchrun have the same arguments
            raise SystemExit(2)
        raise UsageError(f"{message}\nsee {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command and return the exit status: 0 success, 1 user error, 2 wrong usage, 130
    Ctrl-C."""
    try:
        try:
            options = _parse(sys.argv[1:] if arguments is None else arguments)
            _set_up_logging(options)
            return _run(options)
        finally:
            sys.stdout.flush()  # here, so that the handlers below see a broken pipe or a full disk
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has closed the pipe, as in `liif … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UserError as error:
        message, status = str(error), 2 if isinstance(error, UsageError) else 1
    except (MemoryError, RuntimeError) as error:
        from liif.core.memory import is_out_of_memory  # imports PyTorch, which help does not need

        if not is_out_of_memory(error):
            raise
        message, status = f"not enough memory: {error}", 1
    except OSError as error:  # e.g. a full disk, where no more specific message is given
        message, status = f"{error.filename or 'a file'}: {error.strerror or error}", 1
    print(f"error: {message}", file=sys.stderr)
    return status


def _run(options: argparse.Namespace) -> int:
    try:
        return import_module(f"liif.commands.{options.command}").run(options)
    except Exception:
        if options.verbose:
            traceback.print_exc()
        raise


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    for argument in arguments:
        # argparse (up to Python 3.12) makes an empty list of --option=--
        if argument.startswith("-") and argument.endswith("=--"):
            raise UsageError(f"{argument}: -- is not a value\nsee liif --help")
    return _parser().parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of `liif` with the options of all commands."""
    text = "Arbitrary-scale super-resolution: train, evaluate, use."
    parser = _Parser(prog="liif", description=text)
    parser.set_defaults(parser=parser, verbose=False, quiet=False)
    parser.add_argument("-V", "--version", action="version", version=f"liif {__version__}")
    parsers = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for name, summary in COMMANDS.items():
        sub = parsers.add_parser(name, help=summary, description=summary)
        module = import_module(f"liif.commands.arguments.{name}")
        sub.epilog = f"example: liif {name} {module.EXAMPLE}"
        sub.set_defaults(command=name)
        module.arguments(sub)
    return parser


class _ProgressSafeHandler(logging.Handler):
    """Writes a line to standard error without breaking a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def _report_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """Log an I/O error in one line: a full disk hits TensorBoard's writer first, and the next
    checkpoint reports what it means for the run."""
    if isinstance(failure.exc_value, OSError) and failure.thread is not None:
        log.warning("%s: %s", failure.thread.name, failure.exc_value)
    else:
        threading.__excepthook__(failure)


def _set_up_logging(options: argparse.Namespace) -> None:
    """Log to standard error; where a progress bar is shown, it replaces the lines of each step."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may not fit the terminal's encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    log.handlers.clear()
    log.setLevel(logging.ERROR if rank_of_environment() else logging.DEBUG)
    handler = _ProgressSafeHandler()
    # The run's own log file, another handler, has all lines.
    handler.setLevel(logging.WARNING if options.quiet else logging.DEBUG)
    if shows_progress() and not options.verbose:
        handler.setLevel(max(handler.level, logging.INFO))
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    threading.excepthook = _report_thread_failure
    # Pillow's words about damaged metadata; the package has its own.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    if options.verbose:
        versions = __version__, platform.python_version(), platform.platform()
        log.debug("liif %s, Python %s, %s", *versions)
