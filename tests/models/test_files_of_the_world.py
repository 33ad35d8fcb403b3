"""What training code leaves in a file beside the weights: read past, or refused with its type; and
files that are something else, which are named."""

import argparse
import collections
import datetime
import decimal
import enum
import fractions
import functools
import io
import os
import pathlib
import pickle
import random
import re
import subprocess
import sys
import tarfile
import types
import uuid
import zipfile

import numpy as np
import pytest
import torch
from models.test_checkpoint import CONFIG, error_of, official, same

import liif
from liif.models.build import build_model
from liif.models.checkpoint import read_checkpoint, save_checkpoint, save_weights
from liif.models.torch_file import read_torch_file


class Mode(enum.Enum):
    TRAIN = 1


class Settings:
    def __init__(self):
        self.depth, self.parent = 3, self  # configurations of OmegaConf hold their parents


class Dictionary(dict):
    pass


def optimizer_states():
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    return [optimizer.state_dict(), schedule.state_dict(), optimizer, schedule]


HARMLESS = {
    "numbers of NumPy": [np.float64(1.5), np.int64(3), np.bool_(True), np.str_("a"), np.float16(1)],
    "arrays": [np.arange(5), np.ones((2, 3)), np.array(["a", None], dtype=object), np.dtype("f4")],
    "big-endian": np.ones(3, ">f4"),
    "generators": [np.random.get_state(), np.random.default_rng(0), random.getstate()],
    "generator of PyTorch": [torch.get_rng_state(), torch.Generator()],
    "namespace": argparse.Namespace(lr=1e-4, out=pathlib.PurePosixPath("runs/a")),
    "paths": [pathlib.Path("a"), pathlib.PureWindowsPath("C:/a")],
    "times": [datetime.datetime.now(), datetime.timedelta(1), datetime.timezone.utc],
    "exact numbers": [decimal.Decimal("1.5"), fractions.Fraction(1, 2), uuid.uuid4(), 2**100, 1j],
    "of PyTorch": [torch.Size([1, 2]), torch.float16, torch.device("cpu"), torch.strided],
    "types": [torch.optim.Adam, torch.nn.ReLU, np.float32, torch.nn.functional.gelu, torch.relu],
    "partial": functools.partial(torch.nn.LayerNorm, eps=1e-6),
    "sets": [{1, 2}, frozenset([1]), bytearray(b"a"), range(3), slice(1), re.compile("a")],
    "collections": [
        collections.Counter("aab"),
        collections.defaultdict(list),
        collections.deque([1]),
        collections.OrderedDict(a=1),
        types.SimpleNamespace(a=1),
    ],
    "own classes": [Mode.TRAIN, Settings(), Dictionary(a=Dictionary(b=1))],
    "keys": {Mode.TRAIN: 1, (1, 2): 2, torch.optim.Adam: 3, pathlib.Path("a"): 4},
    "optimizers": optimizer_states(),
    "other tensors": [torch.eye(3).to_sparse(), torch.ones(2, device="meta"), torch.ones(2) * 1j],
    "other numbers": [torch.ones(2).to(torch.float8_e5m2), torch.ones(2).to(torch.uint16)],
    "layers": [torch.nn.L1Loss(), torch.nn.Parameter(torch.ones(2))],
    "version": torch.__version__,
}


@pytest.fixture(scope="module")
def model():
    return build_model(CONFIG, seed=3).eval()


@pytest.mark.parametrize("style", [(2, True), (4, True), (2, False)], ids=["zip", "4", "stream"])
@pytest.mark.parametrize("kind", HARMLESS)
def test_data_beside_the_weights_is_read_past(model, folder, kind, style):
    protocol, is_zip = style
    beside = HARMLESS[kind]
    content = official(model) | {"extra": {"deep": [beside]}, "hparams": beside}
    torch.save(content, "a.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
    assert same(liif.load("a.pth"), model)


def test_tensors_are_those_of_pytorch(folder):
    """Views, shared values, empty ones and every type, against PyTorch's own reader."""
    base = torch.arange(24.0).view(4, 6)
    content = {
        "views": [base, base.T, base[1:, ::2], base[0], base.expand(2, 4, 6)[1]],
        "empty": [torch.zeros(0), torch.zeros(2, 0, 3), torch.tensor(2.5)],
        "types": [torch.arange(3).to(kind) for kind in (torch.bfloat16, torch.float64, torch.bool)],
        "integers": [torch.arange(3).to(getattr(torch, f"int{bits}")) for bits in (8, 16, 32, 64)],
        "parameter": torch.nn.Parameter(torch.rand(2)), "state": collections.OrderedDict(a=base),
    }  # fmt: skip
    for is_zip in (True, False):
        torch.save(content, "a.pth", _use_new_zipfile_serialization=is_zip)
        found = read_torch_file(pathlib.Path("a.pth"))
        expected = torch.load("a.pth", weights_only=True)
        for key in ("views", "empty", "types", "integers"):
            for a, b in zip(found[key], expected[key], strict=True):
                assert a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b)
        assert torch.equal(found["parameter"], expected["parameter"])
        assert found["views"][0].data_ptr() == found["views"][1].data_ptr()
        assert found["state"]["a"].data_ptr() == found["views"][0].data_ptr()


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Call(os.system, "touch ran"), "posix.system"),
        (Call(subprocess.run, ["touch", "ran"]), "subprocess.run"),
        (Call(subprocess.Popen, ["touch", "ran"]), "subprocess.Popen"),
        (Call(eval, "open('ran', 'w')"), "builtins.eval"),
        (Call(print, "ran"), "builtins.print"),
        (Call(pathlib.Path.touch, pathlib.Path("ran")), "pathlib.Path.touch"),
        (Call(torch.hub.load, "a/b", "c"), "torch.hub.load"),
        (Call(np.load, "a.npy"), "numpy.load"),
        (Call(getattr(os, "system"), "touch ran"), "posix.system"),  # noqa: B009
    ],
)
def test_calls_that_could_run_code_are_refused_by_name(model, folder, call, name, is_zip):
    for content in (call, official(model) | {"epoch": call}):
        torch.save(content, "a.pth", _use_new_zipfile_serialization=is_zip)
        message = error_of("a.pth")
        assert f"would call {name}, which could run code" in message
        assert "torch.save(model.state_dict()" in message
        assert os.listdir() == ["a.pth"]


def test_functions_of_other_packages_are_refused_without_that_reproach(model, folder):
    module = types.ModuleType("somebodys")
    module.make = lambda: None
    module.make.__module__, module.make.__qualname__ = "somebodys", "make"
    sys.modules["somebodys"] = module
    try:
        torch.save(official(model) | {"epoch": Call(module.make)}, "a.pth")
    finally:
        del sys.modules["somebodys"]
    message = error_of("a.pth")
    assert "the function somebodys.make" in message and "could run" not in message


def test_a_whole_model_is_named_by_its_class(folder):
    layer = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1))
    torch.save(layer, "a.pth")
    found = error_of("a.pth")
    assert "holds a whole model of the class torch.nn.modules.container.Sequential" in found
    torch.save({"net": layer, "epoch": 3}, "a.pth")
    found = error_of("a.pth")
    assert "net is a whole object of the class torch.nn.modules.container.Sequential" in found
    assert "torch.save(model.state_dict()" in found and "could run" not in found


# What is no checkpoint


def saved(thing):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def archive(**records):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in records.items():
            file.writestr(name.replace("__", "/").replace("_pkl", ".pkl"), data)
    return buffer.getvalue()


def tar(name):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


OTHERS = {
    b"": "is empty",
    b"\n<!DOCTYPE html><html>Sign in</html>": "a web page (HTML)",
    b"<HTML><head>": "a web page (HTML)",
    b"<?xml version='1.0'?><Error>": "the answer of a server (XML)",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "run: git lfs pull",
    b'{"error": "not found"}': "JSON text",
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff\xe0": "a JPEG image",
    b"\x1f\x8b\x08": "compressed by gzip; unpack it",
    b"\x89HDF\r\n": "an HDF5 file",
    b"PK\x03\x04" + bytes(99): "damaged or truncated: its end is missing (103 bytes are there)",
    b"\x08\x08\x12\x07pytorch\x1a": "an ONNX graph",
    tar("sys_info"): "the tar format of PyTorch before version 0.1.10",
    tar("model.pth"): "a tar archive; unpack it",
    archive(a__constants_pkl=b"", a__data_pkl=b"", a__code=b""): "a TorchScript program",
    archive(readme="hello"): "a zip archive without a checkpoint",
    saved({"a": torch.ones(9)})[:-30]: "damaged or truncated",
    b"hello, world": "damaged or truncated, or not a PyTorch checkpoint",
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("data", OTHERS, ids=lambda data: ascii(data[:8]))
def test_other_files_are_named(folder, data, suffix):
    path = folder / f"a{suffix}"
    path.write_bytes(data)
    if suffix == ".pth" or not OTHERS[data].startswith("damaged or truncated, or"):
        assert OTHERS[data] in error_of(path) or suffix == ".safetensors"
    assert "could run" not in error_of(path)


def test_a_folder_is_named(folder):
    assert "is a folder" in error_of(folder)


def test_every_cut_of_a_stream_is_told(model, folder):
    torch.save(official(model), "a.pth", _use_new_zipfile_serialization=False)
    data = pathlib.Path("a.pth").read_bytes()
    for length in [*range(0, len(data), 997), len(data) - 1]:
        pathlib.Path("a.pth").write_bytes(data[:length])
        assert "damaged" in error_of("a.pth")


def test_changed_numbers_of_any_archive_are_told(model, folder):
    """By the checksums, which PyTorch does not look at."""
    torch.save(official(model), "a.pth")
    data = bytearray(pathlib.Path("a.pth").read_bytes())
    place = data.index(model.encoder.head[0].weight.detach().numpy().tobytes())
    data[place + 2] ^= 1
    pathlib.Path("a.pth").write_bytes(data)
    assert "damaged" in error_of("a.pth")


def test_safetensors_of_any_name_and_half_precision(model, folder):
    half = {key: value.bfloat16() for key, value in model.state_dict().items()}
    save_weights(pathlib.Path("a.safetensors"), CONFIG, half)
    pathlib.Path("a.safetensors").rename("a.bin")
    weights = read_checkpoint(pathlib.Path("a.bin")).weights
    assert all(torch.equal(weights[key], half[key].float()) for key in half)


def test_a_reference_outside_the_file_is_told(folder):
    save_checkpoint(pathlib.Path("a.pt"), CONFIG, {"w": torch.zeros(3)})
    with zipfile.ZipFile("a.pt") as source, zipfile.ZipFile("b.pt", "w") as target:
        for name in source.namelist():
            if not name.endswith("data/0"):
                target.writestr(name, source.read(name))
    assert "damaged" in error_of("b.pt")


def test_a_plain_pickle_of_numpy_weights(model, folder):
    weights = {k: v.numpy() for k, v in official(model)["model"]["sd"].items()}
    pathlib.Path("a.pkl").write_bytes(pickle.dumps(weights, protocol=4))
    assert same(liif.load("a.pkl"), model)
