"""`liif models`: list models, decoders and encoders; get a model; show what a checkpoint is."""

import argparse
from hashlib import sha256

from liif.commands.options import usage_error
from liif.core.files import format_bytes
from liif.hub.catalog import DEFAULT, MODELS, Pretrained, model_names
from liif.hub.describe import describe_checkpoint
from liif.hub.listing import HEADER, SCALE, Listed, cells, listed_decoders, listed_encoders
from liif.hub.pretrained import fetch_model, resolve_checkpoint

EXAMPLE = "get edsr-liif"
ACTIONS = ("list", "get", "show", "decoders", "encoders")
LEGEND = f"""\
parameters: of this part alone
per input pixel, per output pixel: multiplications, counted at x{SCALE} in colour; n is the number
  of input pixels
reach: distance in input pixels up to which a pixel changes the result
tiles: whether an image is computed in tiles with the same result; "statistics first": after a pass
  over all points of the result; none: the image is encoded at once
DIV2K, Set5: published PSNR in dB at x2 and x4, DIV2K validation in RGB, Set5 in luma
reproduced: the published weights in this package, on Set5"""


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "list the pretrained models (default); get one; show what a checkpoint file is; or list "
    text += "decoders or encoders with their cost and published PSNR"
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", help=text)
    text = "get: model to download to $LIIF_MODELS, else to ~/.local/share/liif/models; show: "
    text += "checkpoint file of any kind, or a model"
    parser.add_argument("name", nargs="?", metavar="NAME", help=text)
    text = "download from this address; the file must match the checksum where one is known"
    parser.add_argument("--url", metavar="URL", help=text)


def run(options: argparse.Namespace) -> int:
    if options.url and options.action != "get":
        raise usage_error("models", "--url: requires `liif models get NAME`")
    if options.action == "list":
        print("\n".join(line for model in MODELS for line in _described(model)))
        return 0
    if options.action == "decoders":
        print("Decoders of the features of edsr-baseline.\n" + _table(listed_decoders()))
        return 0
    if options.action == "encoders":
        print("Encoders; PSNR with the decoder liif.\n" + _table(listed_encoders()))
        return 0
    if options.name is None:
        file = "a checkpoint file, or " if options.action == "show" else ""
        raise usage_error("models", f"give {file}the name of a model: {model_names()}")
    if options.action == "show":
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


def _table(rows: list[Listed]) -> str:
    """Return rows as aligned text, with numbered notes about protocols and the legend."""
    lines, notes = [["", *HEADER, ""]], list[str]()
    for row in rows:
        note = ""
        if row.published.unlike:
            notes.append(f"[{len(notes) + 1}] {row.title}: {row.published.unlike}")
            note = f"[{len(notes)}]"
        lines.append([row.title, *cells(row), note])
    kept = [i for i in range(len(lines[0])) if any(line[i] not in ("0", "–") for line in lines[1:])]
    widths = {i: max(len(line[i]) for line in lines) for i in kept}
    text = [
        "  ".join(line[i].rjust(widths[i]) if i else line[i].ljust(widths[i]) for i in kept)
        for line in lines
    ]
    return "\n".join([*(line.rstrip() for line in text), "", *notes, "", LEGEND])
