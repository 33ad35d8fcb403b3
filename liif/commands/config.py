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


def _show(options: argparse.Namespace) -> None:
    _check_stdout(config_files(options.file))
    data, origins = read_values(options.file, options.set)
    config = validated(kind_of(data.keys(), KINDS), data, origins, options.file)
    lines = list(annotated_lines(config, data, origins))
    width = max(len(text) for text, _ in lines if len(text) <= WIDEST)
    for text, origin in lines:
        print(f"{text:{width}}  # {' '.join(origin.split())}" if origin else text)
