"""Options of `liif models`."""

import argparse

from liif.commands.arguments import convert, shared

EXAMPLE = "download edsr-liif"


def arguments(parser: argparse.ArgumentParser) -> None:
    # Without an action, the models are listed, as in version 0.1.
    parser.set_defaults(action="list", json=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def action(name: str, text: str, *also: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text, aliases=also)

    shared.json_argument(action("list", "List the pretrained models (the default)."))
    text = "Download a model to $LIIF_MODELS, else to ~/.local/share/liif/models."
    sub = action("download", text, "get")
    sub.add_argument("name", nargs="?", metavar="NAME", help="model, see liif models list")
    text = "download from this address; the file must match the checksum where one is known"
    sub.add_argument("--url", metavar="URL", help=text)
    sub = action("show", "Show what a checkpoint is.")
    text = "checkpoint file of any kind, or a model"
    sub.add_argument("name", nargs="?", metavar="FILE|NAME", help=text)
    sub = action("convert", "Convert a checkpoint: the same as `liif convert`.")
    convert.arguments(sub)
    for name in ("decoders", "encoders"):
        text = f"List {name} with their cost and published PSNR."
        shared.json_argument(action(name, text))
