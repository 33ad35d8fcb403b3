"""`liif completion`: print a script with which a shell completes commands, options and files."""

import argparse
from collections.abc import Iterator

from liif.commands.arguments.typed import path
from liif.core.errors import UserError


def run(options: argparse.Namespace) -> int:
    try:
        import shtab
    except ModuleNotFoundError:
        raise UserError('completion needs shtab: pip install "liif[completion]"') from None
    from liif.commands.arguments.shared import checkpoint_file, config_file, named_checkpoint

    for action in _actions(options.parser):
        if action.type in (path, checkpoint_file, config_file, named_checkpoint):
            setattr(action, "complete", shtab.FILE)  # noqa: B010  (argparse declares no such field)
    print(shtab.complete(options.parser, options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield all options and positional arguments, those of sub-commands included."""
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage]  (there is no public list)
        yield action
        for sub in action.choices.values() if isinstance(action.choices, dict) else ():
            yield from _actions(sub)
