"""Options of `liif train`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared

EXAMPLE = "--config configs/edsr-liif.yaml"
SMALL = "quickstart"
"""Configuration of a training without one."""


def arguments(parser: argparse.ArgumentParser) -> None:
    shared.config_arguments(parser, required=False)
    text = "folder of training images in place of those of the configuration; without --config, "
    text += f"the small model of {SMALL} is trained on it"
    parser.add_argument("--data", type=Path, metavar="FOLDER", help=text)
    shared.device_argument(parser)
    text = "name of the run folder, runs/NAME (default: the name of the configuration, or of the "
    text += "folder of --data)"
    parser.add_argument("--name", help=text)
    text = "auto: resume the run where it stopped (default); never: refuse to; FILE: resume from "
    text += "that checkpoint, with another --name as a branch that may change the configuration"
    parser.add_argument("--resume", default="auto", metavar="auto|never|FILE", help=text)
    text = "check everything, take a few steps, print the time and memory that the run will take, "
    text += "and write nothing to the run folder"
    parser.add_argument("--dry-run", action="store_true", help=text)
