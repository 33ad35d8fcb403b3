"""`liif completion`: a script by which a shell completes commands, options and names of files."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from liif.core.errors import UserError

SUMMARY = "Print a completion script for your shell."
EXAMPLE = "bash > ~/.local/share/bash-completion/completions/liif"


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "zsh reads it as _liif from a folder of $fpath, fish as liif.fish from "
    text += "~/.config/fish/completions"
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help=text)


def run(options: argparse.Namespace) -> int:
    try:
        import shtab
    except ModuleNotFoundError:
        raise UserError('completion needs shtab: pip install "liif[completion]"') from None
    for action in _actions(options.parser):
        if action.type is Path:
            setattr(action, "complete", shtab.FILE)  # noqa: B010  (argparse knows no such field)
    print(shtab.complete(options.parser, options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Everything that can be typed, that of sub-commands included."""
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage]  (there is no public list)
        yield action
        for sub in action.choices.values() if isinstance(action.choices, dict) else ():
            yield from _actions(sub)
