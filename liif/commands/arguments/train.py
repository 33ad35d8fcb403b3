"""Options of `liif train`."""

import argparse

from liif.commands.arguments import shared

EXAMPLE = "--config configs/edsr-liif.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    shared.config_arguments(parser)
    shared.device_argument(parser)
    text = "name of the run folder, runs/NAME (default: the name of the configuration)"
    parser.add_argument("--name", help=text)
    text = "auto: resume the run where it stopped (default); never: refuse to; FILE: resume from "
    text += "that checkpoint, with another --name as a branch that may change the configuration"
    parser.add_argument("--resume", default="auto", metavar="auto|never|FILE", help=text)
    text = "check everything, take a few steps, print the time and memory that the run will take, "
    text += "and write nothing to the run folder"
    parser.add_argument("--dry-run", action="store_true", help=text)
