"""Options of `liif config`."""

import argparse

from liif.commands.arguments import shared

EXAMPLE = "show configs/edsr-liif.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, dest="action", metavar="ACTION")
    text = "Print all values of a configuration, and where each comes from."
    show = actions.add_parser("show", help=text, description=text)
    text = "YAML file of any kind, or the name of one that is shipped, e.g. edsr-liif"
    show.add_argument("file", type=shared.config_file, metavar="FILE|NAME", help=text)
    text = "override a value of the configuration, e.g. --set train_data.patch=64"
    show.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)
    text = "Print the JSON Schema of YAML files, with which editors complete and check them."
    actions.add_parser("schema", help=text, description=text)
    text = "List the configurations that are shipped."
    listed = actions.add_parser("list", help=text, description=text)
    shared.json_argument(listed)
