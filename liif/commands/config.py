"""`liif config`: print a configuration resolved, or the JSON Schema of configuration files."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from liif.commands.options import config_files
from liif.core.config_file import annotated_lines, read_values, validated
from liif.core.config_schema import files_schema, kind_of
from liif.core.errors import UserError
from liif.core.shipped import shipped_configs
from liif.evaluation.config import TestConfig
from liif.evaluation.table_config import TableConfig
from liif.training.config import TrainConfig

KINDS = (TrainConfig, TestConfig, TableConfig)
"""What a YAML file may configure: a training, a test or a table."""

WIDEST = 60
"""Columns up to which the remarks about values stand below each other."""


def run(options: argparse.Namespace) -> int:
    if options.action == "show":
        _show(options)
    elif options.action == "list":
        _list(as_json=options.json)
    else:
        print(json.dumps(files_schema(KINDS), indent=1, ensure_ascii=False))
    return 0


def _check_stdout(inputs: Sequence[Path]) -> None:
    """Raise UserError if standard output is redirected to an input."""
    with suppress(OSError, ValueError):  # no real file
        state = os.fstat(sys.stdout.fileno())
        for file in inputs:
            if file.is_file() and os.path.samestat(file.stat(), state):
                raise UserError(
                    f"{file}: is the input and the output; the shell has emptied it unless >> was "
                    "used. Write to another file"
                )


def _list(*, as_json: bool) -> None:
    """Print name, title and file of the shipped configurations that a command takes."""
    found: list[dict[str, str]] = []
    for name, file in shipped_configs().items():
        if not name.startswith("base/"):
            found.append({"name": name, "title": _title(file), "file": str(file)})
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    width = max((len(each["name"]) for each in found), default=0)
    for each in found:
        print(f"{each['name']:{width}}  {each['title']}".rstrip())


def _title(file: Path) -> str:
    """Return the first line of a file's comment; commands in it are indented."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            if line[2] != " ":
                return line[2:]
        elif not line.startswith("#"):
            break
    return ""


def _show(options: argparse.Namespace) -> None:
    _check_stdout(config_files(options.file))
    data, origins = read_values(options.file, options.set)
    config = validated(kind_of(data.keys(), KINDS), data, origins, options.file)
    lines = list(annotated_lines(config, data, origins))
    width = max(len(text) for text, _ in lines if len(text) <= WIDEST)
    for text, origin in lines:
        print(f"{text:{width}}  # {' '.join(origin.split())}" if origin else text)
