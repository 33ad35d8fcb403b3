"""Checkpoints: our own files, safetensors and the official LIIF files, through one loader.

Nothing in a checkpoint can run code: PyTorch files are read with `weights_only=True` only.
An interrupted or failed save leaves the previous file as it was (files.py); a run's last checkpoint
keeps the one before it as previous.pt.
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
from liif.models.model import SRModel
from liif.models.official import Weights, from_official

FORMAT = "liif/1"


_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


_LARGEST = 100_000  # values in a file, a tensor counted as one; RDN's training state has some 3,000


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint holds, on the CPU."""

    model: ModelConfig
    weights: Weights
    """The weights to use: the averaged ones where the run kept an average."""
    training: Mapping[str, Any] | None
    """State of the run that wrote it; None in files that hold weights only."""

    def build(self) -> SRModel:
        """The model with its weights, ready for evaluation."""
        model = build_model(self.model)
        model.load_state_dict(self.weights)
        return model.eval()


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> SRModel:
    """The model of a checkpoint file (ours, safetensors or official), in evaluation mode.

    Raises:
        UserError: no such file; damaged; holding code; of another model.
    """
    return read_checkpoint(Path(path)).build().to(device)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint of any of the three kinds. Raises UserError as `load` does."""
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint file")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pytorch(path)
    try:
        if content.get("format") == FORMAT:
            config, weights = content["model"], content["weights"]
        else:
            config, weights = from_official(content)
        model = ModelConfig.model_validate(config)
        weights = {str(key): _whole_tensor(value) for key, value in weights.items()}
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:100]
        reason = " ".join(first["msg"].split())[:300]
        raise UserError(f"{path}: describes no model of ours: {where}: {reason}") from None
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: not a checkpoint of this package or of the official LIIF code ({reason})"
        ) from None
    _check_keys(path, model, weights)
    weights = {key: value.float() for key, value in weights.items()}
    return Checkpoint(model, weights, content.get("training"))


def _read_pytorch(path: Path) -> dict[str, Any]:
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        with warnings.catch_warnings():  # of foreign pickle protocols, which are refused anyway
            warnings.simplefilter("ignore")
            _check_records(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
        _check_extent(content)
        # PyTorch passes over the archive's checksums: damaged numbers would be taken as they are.
        if isinstance(content, dict) and content.get("format") == FORMAT:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: refused: it holds more than tensors and plain values, whose loading could "
            "run code (nothing of it was executed), or it is damaged"
        ) from None
    except Exception:  # A damaged archive fails in many ways inside PyTorch's reader.
        raise UserError(f"{path}: damaged or truncated, or not a PyTorch checkpoint") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    return content


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        weights = safetensors.torch.load_file(path)
        return {
            "format": header["format"],
            "model": json.loads(header["model"]),
            "weights": weights,
        }
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged, or not a safetensors file ({error})") from None
    except (KeyError, ValueError, RecursionError):
        raise UserError(
            f"{path}: its header does not describe the model; "
            "write such files with `liif convert CHECKPOINT FILE.safetensors`"
        ) from None


def _check_records(path: Path) -> None:
    """Nothing in an archive may be larger than in the file: PyTorch compresses nothing."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(record.file_size for record in archive.infolist()) > path.stat().st_size:
                raise zipfile.BadZipFile


def _check_extent(content: object) -> None:
    """A list that holds a list twice, that holds a list twice, and so on is short in a pickle, and
    has no end for whoever compares or prints it."""
    left, seen = [content], 0
    while left:
        value, seen = left.pop(), seen + 1
        if isinstance(value, Mapping):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            left += value
        if seen + len(left) > _LARGEST:
            raise ValueError


def _whole_tensor(value: object) -> Tensor:
    """With all of its numbers in the file: not sparse, not one number shown a million times."""
    if not isinstance(value, Tensor) or value.dtype not in _FLOATS:
        raise TypeError("its weights are not all floating-point tensors")
    is_plain = value.layout == torch.strided and value.device.type == "cpu"
    if not is_plain or value.untyped_storage().nbytes() < value.nbytes:
        raise TypeError("its weights are not all whole tensors")
    return value


def _check_keys(path: Path, config: ModelConfig, weights: Weights) -> None:
    """Compare names and shapes before anything of the model's size is allocated."""
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
        f"{len(keys)} {what}: {_shown(keys[:5])}{', …' if len(keys) > 5 else ''}"
        for what, keys in parts.items()
        if keys
    )
    raise UserError(f"{path}: its weights do not fit the model it describes: {listed}")


def _shown(keys: list[str]) -> str:
    """A stranger's names, without what would steer a terminal."""
    return ", ".join(key if key.isprintable() else repr(key) for key in keys)[:300]


def save_checkpoint(
    path: Path,
    model: ModelConfig,
    weights: Weights,
    training: Mapping[str, Any] | None = None,
    previous: Path | None = None,
) -> None:
    """Write our own file. `training` holds tensors and plain values only; the file that it replaces
    is kept as `previous` if that is given.

    Raises:
        UserError: it could not be written; what was there before is intact.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "model": model.model_dump(mode="json"),
        "weights": weights,
        "versions": {"torch": str(torch.__version__)},
    }
    if training is not None:
        content["training"] = dict(training)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getbuffer(), previous)


def save_weights(path: Path, model: ModelConfig, weights: Weights) -> None:
    """Write a safetensors file: weights alone, with the model's description in its header."""
    header = {"format": FORMAT, "model": model.model_dump_json()}
    tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
    write_atomically(path, safetensors.torch.save(tensors, header))
