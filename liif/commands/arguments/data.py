"""Options of `liif data`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared

EXAMPLE = "check configs/edsr-liif.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "check the images of configurations, or draw training samples of one (preview)"
    parser.add_argument("action", choices=["check", "preview"], help=text)
    text = "configurations of training or testing (default for check: configs/*.yaml, else all "
    text += "that are shipped)"
    parser.add_argument("configs", nargs="*", type=shared.config_file, metavar="CONFIG", help=text)
    text = "folder of the data sets (default: that of the configuration, else $LIIF_DATA, else "
    text += "datasets/)"
    parser.add_argument("--data-root", metavar="DIR", help=text)
    text = "decode every image instead of reading only its header and its end"
    parser.add_argument("--deep", action="store_true", help=text)
    text = "preview: number of samples, the first ones of the training (default: 24)"
    parser.add_argument("--samples", type=int, default=24, metavar="N", help=text)
    text = "preview: file of the sheet (default: preview.png)"
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("preview.png"), metavar="FILE", help=text
    )
    shared.overwrite_argument(parser)
    text = "preview: override a value of the configuration, e.g. --set train_data.degrade=bsrgan"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)
