"""Say what a checkpoint file is, for people who were given one."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from liif.core.errors import UserError
from liif.core.files import format_bytes
from liif.core.section import Section
from liif.models.build import build_model
from liif.models.checkpoint import FORMAT, checkpoint_of, read_content
from liif.models.foreign.arrays import Array
from liif.models.foreign.translate import translate
from liif.models.unpickler import Foreign

NAMES = 6
"""Names of tensors or values that are shown; a file may hold any number."""


def describe_checkpoint(path: Path) -> dict[str, str]:
    """Return what a checkpoint file of any kind holds, as texts by their titles.

    Raises UserError if it cannot be read, or is the checkpoint of no known model:
    the message then says what it holds.
    """
    content = read_content(path)
    try:
        checkpoint = checkpoint_of(path, content)
    except UserError as error:
        raise UserError(f"{error}; it holds {_listed(_shapes(content))}") from None
    config, is_ours = checkpoint.model, content.get("format") == FORMAT
    name, stored, written = "", content.get("weights", {}), frozenset[str]()
    if not is_ours:
        other = translate(content)
        name, stored, written = other.name, other.stored, other.written
    with torch.device("meta"):
        model = build_model(config)
    total, encoder, decoder = (
        sum(each.numel() for each in part.parameters())
        for part in (model, model.encoder, model.decoder)
    )
    floats = {each.dtype for each in stored.values() if each.is_floating_point()}
    types = sorted(str(each).removeprefix("torch.") for each in floats)
    found = {
        "file": f"{path}, {format_bytes(path.stat().st_size)}",
        "layout": _layout(path, name, written),
        "encoder": _options(config.encoder),
        "decoder": _options(config.decoder),
        "images": f"{_options(config.channels)}; {_options(config.normalization)}",
        "parameters": f"{total:,}: encoder {encoder:,}, decoder {decoder:,}",
        "precision": f"weights in {', '.join(types)}",
    }
    if checkpoint.training is not None:
        found["training"] = _progress(checkpoint.training)
    unused = len(stored) - len(checkpoint.weights)
    if unused > 0:
        found["not used"] = f"{unused} of {len(stored)} tensors, which follow from the model"
    others = checkpoint.training if is_ours else content
    shown = ("step",) if is_ours else ("model", "state_dict")
    rest = {key: value for key, value in (others or {}).items() if key not in shown}
    if rest:
        found["also in the file"] = _listed(_sizes(rest))
    return found


def _layout(path: Path, name: str, written: Iterable[str]) -> str:
    """`name` is that of a model of other code."""
    if not name:
        kind = "safetensors" if path.suffix == ".safetensors" else "PyTorch"
        return f"this package's ({FORMAT}, {kind})"
    listed = ", ".join(map(_plain, sorted(written)))
    begin = f"; names contain {listed}" if listed else ""
    return f"that of the official code, model {name!r}{begin}"


def _options(section: Section) -> str:
    """Return a section as "NAME: option value, …"."""
    values = section.model_dump(mode="json")
    name = values.pop("name", None)
    text = ", ".join(f"{key} {value}" for key, value in values.items())
    return text if name is None else f"{name}: {text}" if text else name


def _progress(training: Mapping[str, Any]) -> str:
    run = training.get("config")
    steps = run.get("steps") if isinstance(run, Mapping) else None
    of = f" of {steps}" if isinstance(steps, int) else ""
    return f"step {_plain(training.get('step'))}{of}"


def _listed(texts: Iterator[str]) -> str:
    """Join texts; those beyond the first few are counted only."""
    every = list(texts)
    more = f", … ({len(every)} in all)" if len(every) > NAMES else ""
    return (", ".join(every[:NAMES]) or "nothing") + more


def _shapes(value: object, name: str = "") -> Iterator[str]:
    """Yield name and shape of the tensors in nested mappings, and the names of other values."""
    if isinstance(value, Mapping) and not isinstance(value, Foreign):
        for key, item in value.items():
            yield from _shapes(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, Tensor | Array):
        tensor = value.tensor if isinstance(value, Array) else value
        yield _plain(name) + ("" if tensor is None else f" {tuple(tensor.shape)}")
    else:
        yield _plain(name)


def _sizes(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield each name with its value if that is a number or a word, or the size of its tensors."""
    for key, value in values.items():
        if isinstance(value, int | float | str):
            yield f"{_plain(key)} {_plain(value)}"
        elif isinstance(value, Foreign):
            yield f"{_plain(key)} (an object of the class {_plain(value.kind)})"
        else:
            size = sum(t.numel() * t.element_size() for t in _tensors(value))
            yield _plain(key) + (f" ({format_bytes(size)} of tensors)" if size else "")


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping) and not isinstance(value, Foreign):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _plain(value: object) -> str:
    """Return an untrusted value as short text without control characters."""
    text = str(value)[:80]
    return text if text.isprintable() else repr(text)
