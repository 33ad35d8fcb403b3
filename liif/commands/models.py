"""`liif models`: list models, decoders and encoders; get a model; show what a checkpoint is.

The list of models needs no PyTorch, which takes seconds to import; the other actions import it.
"""

import argparse
from hashlib import sha256

from liif.commands.arguments.shared import usage_error
from liif.core.files import format_bytes
from liif.hub.catalog import DEFAULT, MODELS, Pretrained, model_names


def run(options: argparse.Namespace) -> int:
    if options.url and options.action != "get":
        raise usage_error("models", "--url: requires `liif models get NAME`")
    if options.action == "list":
        print("\n".join(line for model in MODELS for line in _described(model)))
        return 0
    if options.action in ("decoders", "encoders"):
        from liif.hub.listing import as_text, listed_decoders, listed_encoders

        if options.action == "decoders":
            print("Decoders of the features of edsr-baseline.\n" + as_text(listed_decoders()))
        else:
            print("Encoders; PSNR with the decoder liif.\n" + as_text(listed_encoders()))
        return 0
    if options.name is None:
        file = "a checkpoint file, or " if options.action == "show" else ""
        raise usage_error("models", f"give {file}the name of a model: {model_names()}")
    from liif.hub.pretrained import fetch_model, resolve_checkpoint

    if options.action == "show":
        from liif.hub.describe import describe_checkpoint

        described = describe_checkpoint(resolve_checkpoint(options.name))
        print("\n".join(f"{title}: {text}" for title, text in described.items()))
        return 0
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
