"""Options of `liif config`."""

import argparse
from pathlib import Path

EXAMPLE = "show configs/edsr-liif.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, dest="action", metavar="ACTION")
    text = "Print all values of a configuration, and where each comes from."
    show = actions.add_parser("show", help=text, description=text)
    show.add_argument("file", type=Path, metavar="FILE", help="YAML file of any kind")
    text = "override a value of the configuration, e.g. --set train_data.patch=64"
    show.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)
    text = "Print the JSON Schema of YAML files, with which editors complete and check them."
    actions.add_parser("schema", help=text, description=text)
