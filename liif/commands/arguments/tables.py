"""Options of `liif tables`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared

EXAMPLE = "--table benchmark --sets set5,set14"


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "a table in configs/tables, e.g. div2k, or the YAML file of a table"
    parser.add_argument("--table", required=True, metavar="NAME|FILE", help=text)
    rows = "bicubic,edsr (substrings of their names)"
    for name, example in (("sets", "set5,set14"), ("scales", "2,3,4"), ("rows", rows)):
        text = f"only these {name}, e.g. {example}"
        parser.add_argument(f"--{name}", default="", metavar="LIST", help=text)
    text = "folder of the data sets (default: $LIIF_DATA, else datasets/)"
    parser.add_argument("--data-root", metavar="DIR", help=text)
    text = "checkpoint of the rows of configuration NAME, e.g. edsr-liif=edsr-baseline-liif.pth, "
    text += "or of one seed, e.g. quickstart-seed1=FILE; NAME is needed unless the rows have only "
    text += "one; repeatable (default: runs/NAME/last.pt)"
    shared.checkpoints_argument(parser, text)
    text = "folder of training runs"
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help=text)
    text = "folder of the tables and the measurements, which are reused; the same table is updated "
    text += "(default: results)"
    results = Path("results")
    parser.add_argument("-o", "--output", type=Path, default=results, metavar="DIR", help=text)
    shared.overwrite_argument(parser)
    text = 'also measure LPIPS (needs pip install "liif[metrics]")'
    parser.add_argument("--lpips", action="store_true", help=text)
    text = "only list the configurations (with seeds, the runs) of the rows and their checkpoints"
    parser.add_argument("--list", action="store_true", help=text)
    shared.inference_arguments(parser, scoring=True)
