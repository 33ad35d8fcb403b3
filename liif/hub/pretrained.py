"""Load trained models by name or file; models that are not in the package are downloaded once."""

import logging
import os
from pathlib import Path

import torch

from liif.core.download import fetch
from liif.core.environment import rank_of_environment
from liif.core.errors import UserError
from liif.hub.catalog import DEFAULT, find_model, model_names
from liif.models.checkpoint import read_checkpoint
from liif.models.model import SRModel

log = logging.getLogger("liif")

PAUSES = (1.0, 4.0)
"""Seconds before each retry of a mirror: few, because a user waits for the model."""


def fetch_model(name: str, url: str | None = None) -> Path:
    """Return the file of a model by its name or alias; download it if it does not exist, from `url`
    instead of the known mirrors if it is given.

    Raises UserError if there is no such model; if the download fails, is damaged or holds another
    model (nothing of it is kept); or if a file of the package is missing.
    """
    model = find_model(name)
    if model is None:
        raise UserError(f"{name}: no such model; choose from {model_names()}")
    path, urls = model.path, model.urls if url is None else (url,)
    if model.is_shipped and not path.is_file():
        text = f"{path}: this file of the package is missing; reinstall the package, or name "
        text += "another model: --checkpoint FILE, or a name that `liif models` lists"
        raise UserError(text)
    if model.is_shipped:
        return path
    if path.exists():  # compares its size and checksum only
        fetch(urls, path, size=model.size, checksum=model.checksum, pauses=PAUSES)
        return path
    instructions = f"{model.by_hand}\ndownload it with a browser to {path}, "
    instructions += f"or run: liif models get {model.name} --url URL"
    if not urls:
        raise UserError(f"{model.name}: {instructions}")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        if rank_of_environment():  # one process reports the error
            raise SystemExit(1)
        raise UserError(f"{name}: not downloaded yet; run `liif models get {name}` first")
    log.info("%s: downloading to %s", model.name, path)
    try:
        fetch(urls, path, size=model.size, checksum=model.checksum, pauses=PAUSES)
    except UserError as error:
        raise UserError(f"{error}\n{instructions}") from None
    try:  # raises for a file that is no checkpoint or could run code
        if read_checkpoint(path).model != model.model:
            raise UserError(f"{path.name}: the downloaded file is not the model {model.name}")
    except UserError as error:
        path.unlink()
        raise UserError(f"{error}; the file was deleted") from None
    return path


def resolve_checkpoint(name_or_path: str | Path | None) -> Path:
    """Return the checkpoint file of a path or a model's name, which is downloaded if necessary;
    for None, that of the default model. Raises UserError if there is neither, or as `fetch_model`.
    """
    if name_or_path is None:
        return fetch_model(DEFAULT)
    name = str(name_or_path)
    path = Path(os.path.expanduser(name))  # Path.expanduser raises for unknown users
    if path.is_file():
        return path
    if find_model(name) is not None:
        return fetch_model(name)
    if path.name != name or path.suffix or path.exists():  # intended as a path
        raise UserError(f"{path}: no such checkpoint file")
    raise UserError(f"{name}: no such checkpoint file or model; models are {model_names()}")


def load(name_or_path: str | Path | None = None, device: str | torch.device = "cpu") -> SRModel:
    """Return a trained model, in evaluation mode.

    Args:
        name_or_path: a name that `liif models` lists (by default "edsr-light", which is part of the
            package; others are downloaded once), or a checkpoint file of this package or of the
            official code, or safetensors.
        device: the model's device.

    Raises:
        UserError: no such model or file; the download failed; or the file is damaged, could run
            code, or does not fit the model that it describes.
    """
    return read_checkpoint(resolve_checkpoint(name_or_path)).build().to(device)
