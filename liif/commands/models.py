"""`liif models`: list the pretrained models, or download one."""

import argparse
from hashlib import sha256

from liif.commands.options import usage_error
from liif.core.files import format_bytes
from liif.hub.catalog import DEFAULT, MODELS, Pretrained, model_names
from liif.hub.pretrained import fetch_model

EXAMPLE = "get edsr-liif"


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "list the models (default) or get one"
    parser.add_argument("action", nargs="?", choices=("list", "get"), default="list", help=text)
    text = "model to download to $LIIF_MODELS, else to ~/.local/share/liif/models"
    parser.add_argument("name", nargs="?", metavar="NAME", help=text)
    text = "download from this address; the file must match the checksum where one is known"
    parser.add_argument("--url", metavar="URL", help=text)


def run(options: argparse.Namespace) -> int:
    if options.action == "list":
        if options.url:
            raise usage_error("models", "--url: requires `liif models get NAME`")
        print("\n".join(line for model in MODELS for line in _described(model)))
        return 0
    if options.name is None:
        raise usage_error("models", f"give the name of a model: {model_names()}")
    path = fetch_model(options.name, options.url)
    print(f"{path}  sha256:{sha256(path.read_bytes()).hexdigest()}")
    return 0


def _described(model: Pretrained) -> list[str]:
    size = model.size
    if model.path.is_file():
        size, where = model.path.stat().st_size, f"at {model.path}"
    elif model.is_shipped:
        where = f"missing, although it is part of the package: {model.path}"
    elif model.urls:
        where = f"not downloaded yet: liif models get {model.name}"
    else:
        where = f"not downloaded; {model.by_hand}"
    shown = "size not recorded" if size is None else format_bytes(size)
    default = ", the default" if model.name == DEFAULT else ""
    also = f", also {', '.join(model.aliases)}" if model.aliases else ""
    return [
        f"{model.name}{also} ({shown}{default})",
        f"  {model.title}",
        f"  trained on {model.data}",
        f"  PSNR: {model.scores}",
        f"  licence: {model.licence}",
        f"  {where}",
    ]
