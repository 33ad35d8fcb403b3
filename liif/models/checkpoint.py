"""Read checkpoints of this package, of the official LIIF code and in safetensors; write ours.

No checkpoint can run code: unpickler.py imports and calls nothing that a file names. An interrupted
or failed save leaves the previous file intact (core/files.py).
"""

import io
import json
import logging
import pickle
import warnings
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
from liif.models.foreign.layouts import Weights, find_weights
from liif.models.foreign.official import official_content, official_model
from liif.models.foreign.translate import translate
from liif.models.model import SRModel
from liif.models.other_files import is_safetensors, other_kind
from liif.models.torch_file import read_torch_file
from liif.models.unpickler import Foreign, RefusedError, is_entered

log = logging.getLogger("liif")

FORMAT = "liif/1"
SAVE_IT = (
    "load it by the code that wrote it and save its weights alone: "
    "torch.save(model.state_dict(), FILE)"
)
"""What to do with a file that holds more than weights and plain values."""
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
    the file is missing or damaged, would call functions, or does not fit its model."""
    return read_checkpoint(Path(path)).build().to(device)


def read_checkpoint(path: Path, arch: ModelConfig | None = None) -> Checkpoint:
    """Read and check a checkpoint of any kind; `arch` as in `checkpoint_of`. Raises UserError as
    `load_checkpoint` does."""
    return checkpoint_of(path, read_content(path), arch)


def read_content(path: Path) -> dict[str, Any]:
    """Return what a checkpoint file holds: tensors and plain values, checked no further. Objects of
    other classes are read past (unpickler.py). Raises UserError if the file is missing, damaged or
    something else, or would call functions."""
    if not path.is_file():
        raise UserError(f"{path}: {'is a folder' if path.is_dir() else 'no such checkpoint file'}")
    try:
        kind = other_kind(path)
        is_safe = path.suffix == ".safetensors" or is_safetensors(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    if kind is not None:
        raise UserError(f"{path}: {kind}")
    return _read_safetensors(path) if is_safe else _read_pytorch(path)


def checkpoint_of(
    path: Path, content: Mapping[str, Any], arch: ModelConfig | None = None
) -> Checkpoint:
    """Check the content of a checkpoint file; `arch` is the model of a file that has its weights
    alone. Raises UserError if it does not fit the model that it describes, or describes none, and
    its weights do not tell."""
    try:
        if content.get("format") == FORMAT:
            config, weights = content["model"], content["weights"]
        else:
            config, weights = _translated(path, content, arch)
        model = ModelConfig.model_validate(config)
        weights = {str(key): _whole_tensor(value) for key, value in weights.items()}
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:100]
        reason = " ".join(first["msg"].split())[:300]
        raise UserError(f"{path}: describes no model of this package: {where}: {reason}") from None
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        what = f"not a checkpoint of this package or of the official LIIF code ({reason})"
        raise UserError(f"{path}: {what}{_advice(content)}") from None
    _check_keys(path, model, weights)
    weights = {key: value.float() for key, value in weights.items()}
    if broken := [key for key, value in weights.items() if not bool(value.isfinite().all())]:
        text = f"weights that are not finite: {_printable(broken)}"
        raise UserError(f"{path}: {text}; its training had diverged, use an earlier checkpoint")
    return Checkpoint(model, weights, content.get("training"))


def _translated(
    path: Path, content: Mapping[str, Any], arch: ModelConfig | None
) -> tuple[Any, Mapping[str, Any]]:
    """Return configuration and weights of a checkpoint of other code, or of weights alone."""
    if arch is not None:
        weights = find_weights(content).weights
        if any(key.startswith("decoder.") for key in weights):  # by the names of this package
            return arch, weights
    found = translate(content, None if arch is None else official_model(arch))
    for note in found.notes:
        log.warning("%s: %s", path, note)
    return found.config, found.weights


def _advice(content: Mapping[str, Any]) -> str:
    """Return what to do about weights that are of no known model, or objects of other code."""
    for key, value in content.items():
        if isinstance(value, Foreign) and value.is_module:
            kind = value.kind[:100]
            return f"; {_printable([str(key)])} is a whole object of the class {kind}: {SAVE_IT}"
    if content.get("format") == FORMAT or "model" in content:
        return ""
    header = "its header does not describe the model; " if "metadata" in content else ""
    return f"; {header}state its model: liif convert --arch NAME -o FILE"


def _read_pytorch(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():  # about arrays that cannot be written to; they are not
            warnings.simplefilter("ignore")
            content = read_torch_file(path)
        _check_value_count(content)
    except RefusedError as error:
        raise UserError(f"{path}: refused: {error}; {SAVE_IT}") from None
    except pickle.UnpicklingError as error:
        reason = f"reading it would take too much memory or time ({error}), or it is damaged"
        raise UserError(f"{path}: refused: {reason}") from None
    except Exception:  # of many types for a damaged file
        raise UserError(f"{path}: damaged or truncated, or not a PyTorch checkpoint") from None
    if isinstance(content, Foreign):
        what = "a whole model" if content.is_module else "an object"
        text = f"{path}: holds {what} of the class {content.kind[:100]}, not its weights; {SAVE_IT}"
        raise UserError(text)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    return content


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        weights = safetensors.torch.load_file(path)
        if "model" not in header:
            return {"state_dict": weights, "metadata": dict(header)}
        model = json.loads(header["model"])
        return {"format": header["format"], "model": model, "weights": weights}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged, or not a safetensors file ({error})") from None
    except (KeyError, ValueError, RecursionError):
        remedy = "write safetensors files with `liif convert CHECKPOINT FILE.safetensors`"
        message = f"{path}: its header does not describe the model; {remedy}"
        raise UserError(message) from None


def _check_value_count(content: object) -> None:
    """Bound the total number of values: shared nested lists grow exponentially."""
    left, seen, walked = [content], 0, set[int]()
    while left:
        value, seen = left.pop(), seen + 1
        if is_entered(value, walked):
            assert isinstance(value, Mapping)
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


def save_official(path: Path, model: ModelConfig, weights: Weights) -> None:
    """Write a checkpoint in the layout of the official LIIF code or of LTE's (foreign/official.py).
    Raises UserError if that code does not have the model, or as `save_checkpoint`."""
    try:
        content = official_content(model, weights)
    except ValueError as error:
        raise UserError(f"{path}: cannot be written in the official layout: {error}") from None
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getbuffer())


def save_weights(path: Path, model: ModelConfig, weights: Weights) -> None:
    """Write a safetensors file of weights, with the model's configuration in its header."""
    header = {"format": FORMAT, "model": model.model_dump_json()}
    tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    write_atomically(path, safetensors.torch.save(tensors, header))
