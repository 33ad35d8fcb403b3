"""Load trained models by name or file; models that are not in the package are downloaded once."""

import logging
import os
import re
from pathlib import Path

import torch

from liif.core.download import fetch
from liif.core.environment import rank_of_environment
from liif.core.errors import UserError
from liif.hub.catalog import DEFAULT, find_model, model_names
from liif.models.checkpoint import read_checkpoint
from liif.models.model import SRModel

log = logging.getLogger("liif")

HUB_FILE = "model.safetensors"
"""The weights in the layout of the Hugging Face Hub; the header describes the model."""
HUB_NAME = r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?"
"""USER/NAME, or USER/NAME@REVISION."""
SUFFIXES = {".pt", ".pth", ".pkl", ".ckpt", ".bin", ".tar", ".safetensors", ".onnx"}
"""Endings of files, which no repository is expected to have."""
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
    instructions += f"or run: liif models download {model.name} --url URL"
    if not urls:
        raise UserError(f"{model.name}: {instructions}")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        if rank_of_environment():  # one process reports the error
            raise SystemExit(1)
        raise UserError(f"{name}: not downloaded yet; run `liif models download {name}` first")
    log.info("%s: downloading to %s", model.name, path)
    try:
        fetch(urls, path, size=model.size, checksum=model.checksum, pauses=PAUSES)
    except UserError as error:
        raise UserError(f"{error}\n{instructions}") from None
    try:  # raises for a file that is no checkpoint
        if read_checkpoint(path).model != model.model:
            raise UserError(f"{path.name}: the downloaded file is not the model {model.name}")
    except UserError as error:
        path.unlink()
        raise UserError(f"{error}; the file was deleted") from None
    return path


def resolve_checkpoint(name_or_path: str | Path | None) -> Path:
    """Return the checkpoint file of a path, a model's name or USER/NAME on the Hugging Face Hub,
    which are downloaded if necessary; for None, that of the default model. Raises UserError if
    there is none of them, or as `fetch_model`.
    """
    if name_or_path is None:
        return fetch_model(DEFAULT)
    name = str(name_or_path)
    path = Path(os.path.expanduser(name))  # Path.expanduser raises for unknown users
    if path.is_file():
        return path
    if path.is_dir():
        return _in_folder(path)
    if find_model(name) is not None:
        return fetch_model(name)
    if re.fullmatch(HUB_NAME, name) and path.suffix not in SUFFIXES and not path.parent.exists():
        return _from_hub(name)
    if path.name != name or path.suffix or path.exists():  # intended as a path
        raise UserError(f"{path}: no such checkpoint file")
    raise UserError(f"{name}: no such checkpoint file or model; models are {model_names()}")


def _from_hub(name: str) -> Path:
    """Return the weights of a repository on the Hugging Face Hub, which are downloaded once."""
    try:
        from huggingface_hub import hf_hub_download
    except ModuleNotFoundError:
        text = 'to load it from the Hugging Face Hub: pip install "liif[hub]"'
        raise UserError(f"{name}: no such checkpoint file; {text}") from None
    repository, _, revision = name.partition("@")
    try:
        return Path(hf_hub_download(repository, HUB_FILE, revision=revision or None))
    except (OSError, ValueError) as error:  # what the library raises for networks and names
        reason = " ".join(str(error).split())[:200]
        text = f"no such checkpoint file, and no {HUB_FILE} from the Hugging Face Hub"
        raise UserError(f"{name}: {text} ({type(error).__name__}: {reason})") from None


def _in_folder(folder: Path) -> Path:
    """Return the model of a folder in the layout of the Hugging Face Hub."""
    if (folder / HUB_FILE).is_file():
        return folder / HUB_FILE
    files = (f for pattern in ("*.pt", "*.pth", "*.safetensors") for f in folder.glob(pattern))
    listed = ", ".join(sorted(file.name for file in files)[:5])
    raise UserError(f"{folder}: is a folder; name a checkpoint in it{listed and f': {listed}'}")


def load(name_or_path: str | Path | None = None, device: str | torch.device = "cpu") -> SRModel:
    """Return a trained model, in evaluation mode.

    Args:
        name_or_path: a name that `liif models` lists (by default "lite", which is part of the
            package; others are downloaded once); a checkpoint file of this package or of other
            code, or safetensors; or USER/NAME on the Hugging Face Hub, a repository in the layout
            of `HubModel`, which is downloaded once (needs the extra `hub`).
        device: the model's device.

    Raises:
        UserError: no such model or file; the download failed; or the file is damaged, would call
            functions, or does not fit the model that it describes.
    """
    return read_checkpoint(resolve_checkpoint(name_or_path)).build().to(device)
