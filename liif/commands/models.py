"""`liif models`: trained models by name, what they are and where, and how to get them."""

import argparse
from hashlib import sha256

from liif.core.errors import UserError
from liif.core.files import format_bytes
from liif.hub.catalog import DEFAULT, MODELS, Pretrained
from liif.hub.pretrained import get

SUMMARY = "List the trained models that have names, or fetch one."
EXAMPLE = "get edsr-liif"


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "list (default) or get"
    parser.add_argument("action", nargs="?", choices=("list", "get"), default="list", help=text)
    text = "which model to get; it goes to $LIIF_MODELS, else to ~/.local/share/liif/models"
    parser.add_argument("name", nargs="?", metavar="NAME", help=text)
    text = "fetch it from this address; where a checksum is known, it must be the same file"
    parser.add_argument("--url", metavar="URL", help=text)


def run(options: argparse.Namespace) -> int:
    if options.action == "list":
        if options.url:
            raise UserError("--url: belongs to `liif models get NAME`")
        print("\n".join(line for model in MODELS for line in _described(model)))
        return 0
    if options.name is None:
        raise UserError(f"name a model: {', '.join(model.name for model in MODELS)}")
    path = get(options.name, options.url)
    print(f"{path}  sha256:{sha256(path.read_bytes()).hexdigest()}")
    return 0


def _described(model: Pretrained) -> list[str]:
    is_here, path = model.path.is_file(), model.path
    size = path.stat().st_size if is_here else model.size
    shown = "size not recorded" if size is None else format_bytes(size)
    if is_here:
        where = f"at {path}"
    elif model.is_shipped:
        where = f"missing: it comes with the package, at {path}"
    elif model.urls:
        where = f"not here yet: liif models get {model.name}"
    else:
        where = f"not here; to be had by hand: {model.by_hand}"
    default = ", used where none is named" if model.name == DEFAULT else ""
    also = f", also {', '.join(model.also)}" if model.also else ""
    return [
        f"{model.name}{also} ({shown}{default})",
        f"  {model.title}",
        f"  trained on {model.data}",
        f"  PSNR: {model.scores}",
        f"  licence: {model.licence}",
        f"  {where}",
    ]
