"""Options of `liif plot`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared, typed
from liif.figures.style import METRIC_LABELS, SUFFIXES

EXAMPLE = "psnr results/benchmark.json -o psnr.png"


def arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(required=True, dest="kind", metavar="KIND")

    def kind(name: str, summary: str) -> argparse.ArgumentParser:
        sub = kinds.add_parser(name, help=summary, description=summary)
        text = f"figure to write, {'|'.join(SUFFIXES)}; repeatable"
        sub.add_argument(
            "-o", "--output", type=Path, action="append", required=True, metavar="FILE", help=text
        )
        shared.overwrite_argument(sub)
        return sub

    sub = kind("psnr", "Plot scores over scale, a panel for each set.")
    text = "file written by `liif test -o` or `liif tables`"
    sub.add_argument("results", type=Path, nargs="+", metavar="RESULT.json", help=text)
    text = "only these sets"
    sub.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME", help=text)
    text = "default: psnr, on the channels of the set's protocol"
    sub.add_argument("--metric", choices=tuple(METRIC_LABELS), default="psnr", help=text)
    text = "plot differences from this method, e.g. bicubic, to separate similar models"
    sub.add_argument("--over", metavar="NAME", help=text)

    sub = kind(
        "images", "Compare two models image by image, with the interval of their difference."
    )
    text = "two files written by `liif test -o`, of the same sets and scales"
    sub.add_argument("results", type=Path, nargs=2, metavar="RESULT.json", help=text)
    text = "default: psnr, on the channels of the set's protocol"
    sub.add_argument("--metric", choices=tuple(METRIC_LABELS), default="psnr", help=text)

    sub = kind("curves", "Plot loss, validation PSNR and learning rate of runs.")
    text = "e.g. runs/quickstart"
    sub.add_argument("runs", type=Path, nargs="+", metavar="RUN_FOLDER", help=text)

    sub = kind("crops", "Compare a crop between methods and scales.")
    text = "high-resolution images, which are reduced and enlarged again"
    sub.add_argument("--image", type=Path, nargs="+", required=True, metavar="FILE", help=text)
    text = "crop in image pixels; one for each image or one for all (default: the middle)"
    sub.add_argument("--box", type=typed.box, nargs="+", metavar="X,Y,W,H", help=text)
    text = "scale factors from 1 up (default: 2,4,8)"
    sub.add_argument("--scales", type=typed.factors, default="2,4,8", metavar="S,…", help=text)
    text = "models and their labels in the figure"
    shared.checkpoints_argument(sub, text, action="extend", nargs="+", required=True)
    shared.inference_arguments(sub)
