"""Trained models by name: the one that comes with the package, and the LIIF authors' own."""

import logging
import os
from pathlib import Path

import torch

from liif.core.download import fetch
from liif.core.environment import rank_of_environment
from liif.core.errors import UserError
from liif.hub.catalog import DEFAULT, Pretrained, find, names
from liif.models.checkpoint import read_checkpoint
from liif.models.model import SRModel

log = logging.getLogger("liif")


PAUSES = (1.0, 4.0)
"""Seconds before each new try of a mirror: somebody waits for the model."""


def get(name: str, url: str | None = None) -> Path:
    """The file of a model, fetched if it is not there.

    Args:
        name: one of the table's.
        url: fetch it from there instead of the known mirrors.

    Raises:
        UserError: no such model; not to be had, damaged, or another one than it should be, of which
            nothing is kept; not in the package.
    """
    model = find(name)
    if model is None:
        raise UserError(f"{name}: no such model; there are {names()}")
    path, urls = model.path, model.urls if url is None else (url,)
    if model.is_shipped:
        if not path.is_file():
            raise UserError(
                f"{path}: the weights that come with the package are missing; install it anew, or "
                "name other ones: --checkpoint FILE, or a name that `liif models` lists"
            )
        return path
    was_there = path.exists()
    if not was_there and not urls:
        raise UserError(f"{model.name}: {_instructions(model)}")
    if not was_there and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        if rank_of_environment():  # of all processes, one tells
            raise SystemExit(1)
        raise UserError(f"{name}: not here yet; before torchrun, run `liif models get {name}`")
    if not was_there:
        log.info("%s: fetching it to %s", model.name, path)
    try:
        # What is there is only held against its size and checksum.
        fetch(urls, path, size=model.size, checksum=model.checksum, pauses=PAUSES)
    except UserError as error:
        hint = "" if was_there else f"\n{_instructions(model)}"
        raise UserError(f"{error}{hint}") from None
    if not was_there:
        try:
            _check(model, path)
        except UserError as error:
            path.unlink()
            raise UserError(f"{error}; it was deleted") from None
    return path


def _instructions(model: Pretrained) -> str:
    return (
        f"{model.by_hand}\nfetch it with a browser and put it at {model.path}, "
        f"or: liif models get {model.name} --url URL"
    )


def _check(model: Pretrained, path: Path) -> None:
    """Raises UserError for what is no checkpoint, would run code, or is another model."""
    if read_checkpoint(path).model != model.model:
        raise UserError(f"{path.name}: what came is another model than {model.name}")


def resolve_checkpoint(name_or_path: str | Path | None) -> Path:
    """The checkpoint that is meant: the package's own (None), a file, or a model by its name, which
    is fetched if it is not there.

    Raises:
        UserError: neither a file nor a name, or as `get`.
    """
    if name_or_path is None:
        return get(DEFAULT)
    name = str(name_or_path)
    path = Path(os.path.expanduser(name))  # Path.expanduser raises for people who are not known
    if path.is_file():
        return path
    if find(name) is not None:
        return get(name)
    if path.name != name or path.suffix or path.exists():  # meant as a path
        raise UserError(f"{path}: no such checkpoint file")
    raise UserError(f"{name}: no such checkpoint file, nor a model of ours, which are {names()}")


def load(name_or_path: str | Path | None = None, device: str | torch.device = "cpu") -> SRModel:
    """A trained model, in evaluation mode.

    Args:
        name_or_path: a name that `liif models` lists ("edsr-light", which comes with the package,
            if none is given; others are fetched once), or a checkpoint file: ours, safetensors or
            official.
        device: where it goes.

    Raises:
        UserError: no such model or file; not to be had; damaged; holding code; of another model.
    """
    return read_checkpoint(resolve_checkpoint(name_or_path)).build().to(device)
