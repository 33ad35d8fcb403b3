"""Options of `liif models`."""

import argparse

EXAMPLE = "get edsr-liif"
ACTIONS = ("list", "get", "show", "decoders", "encoders")


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "list the pretrained models (default); get one; show what a checkpoint file is; or list "
    text += "decoders or encoders with their cost and published PSNR"
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", help=text)
    text = "get: model to download to $LIIF_MODELS, else to ~/.local/share/liif/models; show: "
    text += "checkpoint file of any kind, or a model"
    parser.add_argument("name", nargs="?", metavar="NAME", help=text)
    text = "download from this address; the file must match the checksum where one is known"
    parser.add_argument("--url", metavar="URL", help=text)
