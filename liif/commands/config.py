"""`liif config`: print a configuration resolved, or the JSON Schema of configuration files."""

import argparse
import json
from pathlib import Path

from liif.core.config_file import annotated_lines, read_values, validated
from liif.core.config_schema import files_schema, kind_of
from liif.evaluation.config import TestConfig
from liif.evaluation.table_config import TableConfig
from liif.training.config import TrainConfig

EXAMPLE = "show configs/edsr-liif.yaml"

KINDS = (TrainConfig, TestConfig, TableConfig)
"""What a YAML file may configure: a training, a test or a table."""

WIDEST = 60
"""Columns up to which the remarks about values stand below each other."""


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    text = "Print all values of a configuration, and where each comes from."
    show = actions.add_parser("show", help=text, description=text)
    show.add_argument("file", type=Path, metavar="FILE", help="YAML file of any kind")
    text = "override a value of the configuration, e.g. --set train_data.patch=64"
    show.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)
    show.set_defaults(act=_show)
    text = "Print the JSON Schema of YAML files, with which editors complete and check them."
    schema = actions.add_parser("schema", help=text, description=text)
    schema.set_defaults(act=_print_schema)


def run(options: argparse.Namespace) -> int:
    options.act(options)
    return 0


def _show(options: argparse.Namespace) -> None:
    data, origins = read_values(options.file, options.set)
    config = validated(kind_of(data.keys(), KINDS), data, origins, options.file)
    lines = list(annotated_lines(config, data, origins))
    width = max(len(text) for text, _ in lines if len(text) <= WIDEST)
    for text, origin in lines:
        print(f"{text:{width}}  # {' '.join(origin.split())}" if origin else text)


def _print_schema(options: argparse.Namespace) -> None:
    print(json.dumps(files_schema(KINDS), indent=1, ensure_ascii=False))
