"""Options of `liif data`."""

import argparse
from pathlib import Path

from liif.commands.arguments import download, shared
from liif.commands.arguments.test import RECIPES, enlarging_scale

EXAMPLE = "check edsr-liif"


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, dest="action", metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text)

    shared.json_argument(action("list", "List the data sets that can be downloaded."))
    sub = action("download", "Download data sets to where the configurations expect them.")
    download.name_arguments(sub)

    sub = action("check", "Check that the images of configurations are present and intact.")
    text = "configurations of training or testing (default: configs/*.yaml, else all that are "
    text += "shipped)"
    sub.add_argument("configs", nargs="*", type=shared.config_file, metavar="CONFIG", help=text)
    _root_argument(sub)
    text = "decode every image instead of reading only its header and its end"
    sub.add_argument("--deep", action="store_true", help=text)

    sub = action("preview", "Draw the first samples of a training on a sheet.")
    text = "configuration of a training"
    sub.add_argument("config", type=shared.config_file, metavar="CONFIG", help=text)
    _root_argument(sub)
    text = "number of samples (default: 24)"
    sub.add_argument("--samples", type=int, default=24, metavar="N", help=text)
    text = "file of the sheet (default: preview.png)"
    output = Path("preview.png")
    sub.add_argument("-o", "--output", type=Path, default=output, metavar="FILE", help=text)
    shared.overwrite_argument(sub)
    text = "override a value of the configuration, e.g. --set train_data.degrade=bsrgan"
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)

    text = "Make low-resolution sets for any scale by the recipe of a paper."
    sub = action("lr", text)
    text = "folder of high-resolution images, or a set of benchmark/, such as Set5"
    sub.add_argument("set", metavar="SET", help=text)
    text = ", ".join(RECIPES) + "; see docs/protocols.md"
    sub.add_argument("--recipe", required=True, choices=RECIPES, metavar="NAME", help=text)
    text = "scale factor, e.g. 1.5 or 2.5x1.5 (vertical × horizontal); repeatable"
    sub.add_argument(
        "-s", "--scale", type=enlarging_scale, nargs="+", action="extend", required=True,
        default=[], metavar="S", help=text,
    )  # fmt: skip
    _root_argument(sub)
    text = "folder of the sets, in which each scale has a folder with a manifest"
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help=text)
    shared.overwrite_argument(sub)


def _root_argument(parser: argparse.ArgumentParser) -> None:
    text = "folder of the data sets (default: that of the configuration, else $LIIF_DATA, else "
    text += "datasets/)"
    parser.add_argument("--data-root", metavar="DIR", help=text)
