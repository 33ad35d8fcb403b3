"""The command line: what can be asked for, and how mistakes are told."""

import argparse
import io
import logging
import os
import re
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from tqdm import tqdm

from liif.commands import (
    completion,
    convert,
    data,
    download,
    export,
    models,
    plot,
    runs,
    tables,
    test,
    train,
    upscale,
    view,
)
from liif.core.environment import rank_of_environment
from liif.core.errors import UserError
from liif.core.progress import shows_progress

COMMANDS = {
    "train": train,
    "runs": runs,
    "test": test,
    "tables": tables,
    "plot": plot,
    "upscale": upscale,
    "view": view,
    "convert": convert,
    "export": export,
    "models": models,
    "download": download,
    "data": data,
    "completion": completion,
}

log = logging.getLogger("liif")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if rank_of_environment():  # all processes of torchrun have the same arguments
            raise SystemExit(1)
        raise UserError(f"{message}\nsee {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns the exit status: 0 done, 1 the user's mistake, 130 Ctrl-C."""
    try:
        try:
            options = _parser().parse_args(_checked(arguments))
            _set_up_logging()
            return options.run(options)
        finally:
            sys.stdout.flush()  # here, where it is known what to do if nobody listens
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
    except OSError as error:  # a disk that is full or gone, where no better message is given
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 1


def _checked(arguments: Sequence[str] | None) -> Sequence[str]:
    """--option=-- is refused here: argparse (up to Python 3.12) makes an empty list of it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for argument in arguments:
        if argument.startswith("-") and argument.endswith("=--"):
            raise UserError(f"{argument}: -- is no value")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="liif", description="Super-resolution of any scale: train, test, use.")
    parser.set_defaults(parser=parser)
    parsers = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for name, module in COMMANDS.items():
        example = f"example: liif {name} {module.EXAMPLE}"
        summary = module.SUMMARY
        sub = parsers.add_parser(name, help=summary, description=summary, epilog=example)
        sub.set_defaults(run=module.run)
        module.arguments(sub)
    return parser


class _AboveTheBar(logging.Handler):
    """Writes a line to standard error without breaking a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


def _tell_of_thread(failure: threading.ExceptHookArgs) -> None:
    """A full disk meets TensorBoard's own thread first; what it means for the run, the next
    checkpoint tells."""
    if isinstance(failure.exc_value, OSError) and failure.thread is not None:
        log.warning("%s: %s", failure.thread.name, failure.exc_value)
    else:
        threading.__excepthook__(failure)


def _set_up_logging() -> None:
    """People read the log on standard error; a progress bar tells the steps where there is one."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold what it cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    log.handlers.clear()
    log.setLevel(logging.ERROR if rank_of_environment() else logging.DEBUG)
    handler = _AboveTheBar()
    handler.setLevel(logging.INFO if shows_progress() else logging.DEBUG)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    threading.excepthook = _tell_of_thread
