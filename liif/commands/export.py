"""`liif export`: a model as two graphs that need no code of this package."""

import argparse
import logging
from pathlib import Path

from liif.commands.options import check_target, checkpoint_input
from liif.hub.export import FORMATS, export
from liif.hub.pretrained import resolve_checkpoint
from liif.models.checkpoint import read_checkpoint

SUMMARY = "Write a model as two graphs, encoder and decoder, for other programs (ONNX, PyTorch)."
EXAMPLE = "edsr-light --format onnx --out exported"

log = logging.getLogger("liif")


def arguments(parser: argparse.ArgumentParser) -> None:
    checkpoint_input(parser)
    text = 'onnx (needs pip install "liif[export]") or torch (torch.export, .pt2)'
    parser.add_argument("--format", choices=tuple(FORMATS), default="onnx", help=text)
    text = "a folder: the two graphs, and model.json with what a program that runs them must know"
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=text)


def run(options: argparse.Namespace) -> int:
    check_target(options.out / "model.json")
    checkpoint = read_checkpoint(resolve_checkpoint(options.checkpoint))
    for file in export(checkpoint, options.out, options.format):
        log.info("wrote %s", file)
    return 0
