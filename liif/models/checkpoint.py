"""Read checkpoints of this package, of the official LIIF code and in safetensors; write ours.

No checkpoint can run code: PyTorch files are read with `weights_only=True` only. An interrupted or
failed save leaves the previous file intact (core/files.py).
"""

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from liif.core.errors import UserError
from liif.core.files import write_atomically
from liif.models.build import ModelConfig, build_model
from liif.models.foreign.flax import is_plain_pickle, read_pickle
from liif.models.foreign.translate import Weights, translate
from liif.models.model import SRModel

FORMAT = "liif/1"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MOST_VALUES = 100_000
"""Bound on the values in a file, a tensor counted as one; RDN's training state has about 3,000."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The content of a checkpoint file, on the CPU."""

    model: ModelConfig
    weights: Weights
    """The weights to use: the average if the run kept one."""
    training: Mapping[str, Any] | None
    """State of the run that wrote the file; None in files that hold weights only."""

    def build(self) -> SRModel:
        """Return the model with its weights, in evaluation mode."""
        model = build_model(self.model)
        model.load_state_dict(self.weights)
        return model.eval()


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> SRModel:
    """Return the model of a checkpoint file of any kind, in evaluation mode. Raises UserError if
    the file is missing or damaged, could run code, or does not fit the model that it describes."""
    return read_checkpoint(Path(path)).build().to(device)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint of any kind. Raises UserError as `load_checkpoint` does."""
    return checkpoint_of(path, read_content(path))


def read_content(path: Path) -> dict[str, Any]:
    """Return what a checkpoint file holds: tensors and plain values, checked no further. Raises
    UserError if the file is missing or damaged, or could run code."""
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint file")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pytorch(path)


def checkpoint_of(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    """Check the content of a checkpoint file. Raises UserError if it does not fit the model that it
    describes, or describes none."""
    try:
        if content.get("format") == FORMAT:
            config, weights = content["model"], content["weights"]
        else:
            config, weights = translate(content)
        model = ModelConfig.model_validate(config)
        weights = {str(key): _whole_tensor(value) for key, value in weights.items()}
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:100]
        reason = " ".join(first["msg"].split())[:300]
        raise UserError(f"{path}: describes no model of this package: {where}: {reason}") from None
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        what = f"not a checkpoint of this package or of the official LIIF code ({reason})"
        raise UserError(f"{path}: {what}") from None
    _check_keys(path, model, weights)
    weights = {key: value.float() for key, value in weights.items()}
    return Checkpoint(model, weights, content.get("training"))


def _read_pytorch(path: Path) -> dict[str, Any]:
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        with warnings.catch_warnings():  # about pickle protocols, which are refused anyway
            warnings.simplefilter("ignore")
            _check_records(path)
            if is_plain_pickle(path):
                content = read_pickle(path)
            else:
                content = torch.load(path, map_location="cpu", weights_only=True)
        _check_value_count(content)
        # PyTorch ignores the checksums of the archive: it would load damaged numbers.
        if isinstance(content, dict) and content.get("format") == FORMAT:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile
    except pickle.UnpicklingError:
        reason = "it holds more than tensors and plain values, which could run code"
        message = f"{path}: refused: {reason} (nothing was executed), or it is damaged"
        raise UserError(message) from None
    except Exception:  # PyTorch raises many types for a damaged archive.
        raise UserError(f"{path}: damaged or truncated, or not a PyTorch checkpoint") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    return content


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        weights = safetensors.torch.load_file(path)
        model = json.loads(header["model"])
        return {"format": header["format"], "model": model, "weights": weights}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged, or not a safetensors file ({error})") from None
    except (KeyError, ValueError, RecursionError):
        remedy = "write safetensors files with `liif convert CHECKPOINT FILE.safetensors`"
        message = f"{path}: its header does not describe the model; {remedy}"
        raise UserError(message) from None


def _check_records(path: Path) -> None:
    """Reject compressed archives: PyTorch writes none, and they could expand without bound."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(record.file_size for record in archive.infolist()) > path.stat().st_size:
                raise zipfile.BadZipFile


def _check_value_count(content: object) -> None:
    """Bound the total number of values: shared nested lists grow exponentially."""
    left, seen = [content], 0
    while left:
        value, seen = left.pop(), seen + 1
        if isinstance(value, Mapping):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            left += value
        if seen + len(left) > _MOST_VALUES:
            raise ValueError


def _whole_tensor(value: object) -> Tensor:
    """Reject sparse and expanded (stride-0) tensors, whose file is smaller than their values."""
    if not isinstance(value, Tensor) or value.dtype not in _FLOATS:
        raise TypeError("its weights are not all floating-point tensors")
    is_plain = value.layout == torch.strided and value.device.type == "cpu"
    if not is_plain or value.untyped_storage().nbytes() < value.nbytes:
        raise TypeError("its weights are not all whole tensors")
    return value


def _check_keys(path: Path, config: ModelConfig, weights: Weights) -> None:
    """Compare names and shapes before memory for the model is allocated."""
    with torch.device("meta"):
        expected = {k: tuple(v.shape) for k, v in build_model(config).state_dict().items()}
    found = {k: tuple(v.shape) for k, v in weights.items()}
    if expected == found:
        return
    both = expected.keys() & found.keys()
    shapes = [f"{k} {found[k]} for {expected[k]}" for k in both if found[k] != expected[k]]
    parts = {
        "missing": sorted(expected.keys() - found.keys()),
        "not expected": sorted(found.keys() - expected.keys()),
        "of another shape": sorted(shapes),
    }
    listed = "; ".join(
        f"{len(keys)} {what}: {_printable(keys[:5])}{', …' if len(keys) > 5 else ''}"
        for what, keys in parts.items()
        if keys
    )
    raise UserError(f"{path}: its weights do not fit the model it describes: {listed}")


def _printable(keys: list[str]) -> str:
    """Return untrusted names without control characters."""
    return ", ".join(key if key.isprintable() else repr(key) for key in keys)[:300]


def save_checkpoint(
    path: Path,
    model: ModelConfig,
    weights: Weights,
    training: Mapping[str, Any] | None = None,
    previous: Path | None = None,
) -> None:
    """Write a checkpoint in this package's format: configuration and state dict of the model, and
    the state of the run, of tensors and plain values only.

    An existing file is replaced, and kept under the path `previous`, if given. Raises UserError if
    the file could not be written; an existing one is intact.
    """
    versions = {"torch": str(torch.__version__)}
    config = model.model_dump(mode="json")
    content = {"format": FORMAT, "model": config, "weights": weights, "versions": versions}
    if training is not None:
        content["training"] = dict(training)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getbuffer(), previous)


def save_weights(path: Path, model: ModelConfig, weights: Weights) -> None:
    """Write a safetensors file of weights, with the model's configuration in its header."""
    header = {"format": FORMAT, "model": model.model_dump_json()}
    tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    write_atomically(path, safetensors.torch.save(tensors, header))
