"""Options of `liif export`."""

import argparse
from pathlib import Path

from liif.commands.arguments import shared
from liif.hub.catalog import DEFAULT

EXAMPLE = "--checkpoint lite --format onnx -o exported"
FORMATS = ("onnx", "torch")


def arguments(parser: argparse.ArgumentParser) -> None:
    shared.checkpoint_argument(parser, DEFAULT)
    text = 'onnx (needs pip install "liif[export]") or torch (torch.export, .pt2)'
    parser.add_argument("--format", choices=FORMATS, default="onnx", help=text)
    text = "fp16: weights and codes in float16, for GPUs; images and coordinates stay in float32"
    parser.add_argument("--precision", choices=("float32", "fp16"), default="float32", help=text)
    text = "folder for the two graphs and model.json, which describes how to run them"
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", required=True, help=text)
    shared.overwrite_argument(parser)
    shared.hidden_positionals(parser, "checkpoint")
