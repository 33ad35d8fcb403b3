"""`liif models`: list, download, show and convert models; list decoders and encoders.

The list of models needs no PyTorch, which takes seconds to import; the other actions import it.
"""

import argparse
from dataclasses import asdict
from hashlib import sha256

from liif.commands.arguments.shared import usage_error
from liif.core.files import format_bytes, to_json
from liif.hub.catalog import DEFAULT, MODELS, Pretrained, model_names


def run(options: argparse.Namespace) -> int:
    action = options.action or "list"  # without one, argparse gives None
    if action == "list":
        if options.json:
            print(to_json([_record(model) for model in MODELS], indent=1))
        else:
            print("\n".join(line for model in MODELS for line in _described(model)))
        return 0
    if action in ("decoders", "encoders"):
        return _list_parts(action, as_json=options.json)
    if action == "convert":
        from liif.commands import convert

        return convert.run(options)
    if options.name is None:
        file = "a checkpoint file, or " if action == "show" else ""
        text = f"give {file}the name of a model: {model_names()}"
        raise usage_error(f"models {action}", text)
    from liif.hub.pretrained import fetch_model, resolve_checkpoint

    if action == "show":
        from liif.hub.describe import describe_checkpoint

        described = describe_checkpoint(resolve_checkpoint(options.name))
        print("\n".join(f"{title}: {text}" for title, text in described.items()))
        return 0
    path = fetch_model(options.name, options.url)
    print(f"{path}  sha256:{sha256(path.read_bytes()).hexdigest()}")
    return 0


def _list_parts(kind: str, *, as_json: bool) -> int:
    """Print the decoders or the encoders with their cost and published numbers."""
    from liif.hub.listing import as_records, as_text, listed_decoders, listed_encoders

    rows = listed_decoders() if kind == "decoders" else listed_encoders()
    if as_json:
        print(to_json(as_records(rows), indent=1))
    elif kind == "decoders":
        print("Decoders of the features of edsr-baseline.\n" + as_text(rows))
    else:
        print("Encoders; PSNR with the decoder liif.\n" + as_text(rows))
    return 0


def _record(model: Pretrained) -> dict[str, object]:
    """Return what the list says of a model; `size` is in bytes."""
    has_file = model.path.is_file()
    return {
        **asdict(model),
        "size": model.path.stat().st_size if has_file else model.size,
        "path": str(model.path) if has_file else None,
        "is_default": model.name == DEFAULT,
    }


def _described(model: Pretrained) -> list[str]:
    size = model.size
    if model.path.is_file():
        size, where = model.path.stat().st_size, f"at {model.path}"
    elif model.is_shipped:
        where = f"missing, although it is part of the package: {model.path}"
    elif model.urls:
        where = f"not downloaded yet: liif models download {model.name}"
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
