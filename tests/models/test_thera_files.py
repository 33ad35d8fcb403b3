"""Official Thera checkpoints: outputs of the official code, and pickles that are refused."""

import os
import pickle
import re
import sys
import types

import numpy as np
import pytest
import torch
from helpers.thera import golden

from liif.core.errors import UserError
from liif.images.rgb8 import read_image, write_image
from liif.models.checkpoint import load_checkpoint


def write(monkeypatch, path, size, protocol=4):
    """Write a small model as published, a FrozenDict of NumPy arrays; return the golden data."""
    module = types.ModuleType("flax.core.frozen_dict")

    class FrozenDict(dict):
        def __reduce__(self):
            return FrozenDict, (dict(self),)

    FrozenDict.__module__, FrozenDict.__qualname__ = module.__name__, "FrozenDict"
    module.FrozenDict = FrozenDict
    for name in ("flax", "flax.core", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    data, tree = golden(size)
    content = {"model": FrozenDict(tree), "backbone": "edsr-baseline", "size": size}
    path.write_bytes(pickle.dumps(content, protocol))
    return data


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("size", ["air", "plus", "pro"])
def test_outputs_of_the_official_code(size, protocol, monkeypatch, tmp_path):
    path = tmp_path / "thera.pkl"
    data = write(monkeypatch, path, size, protocol)
    model, lr = load_checkpoint(path), torch.from_numpy(data["lr"]).permute(2, 0, 1) / 255
    names = [name for name in data.files if re.fullmatch(r"\d+x\d+", name)]
    assert len(names) == 3
    for name in names:
        H, W = map(int, name.split("x"))
        found = model.upscale(lr, (H, W), clamp=False).permute(1, 2, 0)
        difference = (found - torch.from_numpy(data[name])).abs()
        assert difference.max() < 2e-4 and difference.mean() < 2e-5, name


def as_jax_pickles_it(monkeypatch):
    """A type whose arrays pickle as those of JAX, which is not needed to read them."""
    module = types.ModuleType("jax._src.array")

    def _reconstruct_array(*parts):
        raise AssertionError("must not be called")

    _reconstruct_array.__module__ = module.__name__
    _reconstruct_array.__qualname__ = "_reconstruct_array"
    module._reconstruct_array = _reconstruct_array
    for name in ("jax", "jax._src", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)

    class JaxArray:
        def __init__(self, array):
            self.array = array

        def __reduce__(self):
            make, arguments, state = self.array.__reduce__()
            return _reconstruct_array, (make, arguments, state, {"weak_type": False})

    return JaxArray


@pytest.mark.parametrize("kind", ["jax", "fortran"])
def test_other_kinds_of_arrays(kind, monkeypatch, tmp_path):
    of_jax = as_jax_pickles_it(monkeypatch)

    def converted(value):
        if isinstance(value, dict):
            return {key: converted(each) for key, each in value.items()}
        return of_jax(value) if kind == "jax" else np.array(value, order="F")

    _, tree = golden("air")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": tree}))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"model": converted(tree)}))
    expected, found = (load_checkpoint(tmp_path / f"{name}.pkl").state_dict() for name in "ab")
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_commands_read_it(monkeypatch, folder, cli):
    data = write(monkeypatch, folder / "air.pkl", "air")
    write_image(folder / "lr.png", data["lr"])
    status, shown, _ = cli("models", "show", "air.pkl")
    assert status == 0 and "thera" in shown and "edsr-baseline" in shown
    assert cli("convert", "--checkpoint", "air.pkl", "-o", "air.safetensors")[0] == 0
    for name in ("air.pkl", "air.safetensors"):
        options = ("--checkpoint", name, "--size", "24x31", "--precision", "float32")
        assert cli("upscale", "lr.png", "-o", "sr.png", "--overwrite", *options)[0] == 0
        error = np.abs(read_image(folder / "sr.png") / 255 - data["31x24"].clip(0, 1))
        assert error.max() < 0.5 / 255 + 2e-4  # rounded to 8 bits, and no more


class Command:
    def __reduce__(self):
        return os.system, ("touch ran",)


ARRAY = np.ones((2, 3), "f4")


@pytest.mark.parametrize(
    "content",
    [
        {"model": {"params": {"k": Command()}}},
        {"model": {"params": {"k": np.array([Command()])}}},
        {"model": {"params": {"k": ARRAY.astype(">f4")}}},
        {"model": {"params": {"k": ARRAY, "components": ARRAY, "other": {"kernel": ARRAY}}}},
        {"model": {"params": {"k": ARRAY}}},
        {"model": {"params": {"k": ARRAY, "components": ARRAY}}},
        {"model": {"params": [ARRAY]}},
        {"model": {"params": {1: ARRAY}}},
        {"model": {"params": {}}, "size": "air"},
        [ARRAY],
    ],
    ids=[
        *("command", "objects", "big-endian", "unknown", "missing", "same array"),
        *("list", "number as name", "empty", "array"),
    ],
)
def test_other_pickles_are_refused_in_one_line(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ") and len(str(caught.value).splitlines()) == 1
    assert os.listdir() == ["x.pkl"]


def test_pickles_that_take_memory_or_time_are_refused(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04}r\xff\xff\xff\x7f.")  # writes to place 2^31 of the memo
    with pytest.raises(UserError, match="refused"):
        load_checkpoint(path)
    # A key that is a tuple of twice the same tuple of twice the same tuple, and so on: its hash
    # would take years.
    path.write_bytes(b"\x80\x04})" + b"2\x86" * 99 + b"K\x01s.")
    with pytest.raises(UserError, match="refused"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps({"model": {"params": {"k": ARRAY}}})[:-20])
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)
