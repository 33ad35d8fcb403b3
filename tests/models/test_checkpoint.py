"""Saving and loading: every format, damage, foreign models, code in files, a full disk."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import processes

import liif
from liif.core.errors import UserError
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint, save_weights
from liif.models.foreign.translate import translate

CONFIG = ModelConfig(
    encoder={"name": "edsr-baseline", "blocks": 1, "width": 6},
    decoder={"name": "liif", "hidden": [8]},
)


@pytest.fixture
def model():
    return build_model(CONFIG, seed=3).eval()


def official(model, **changes):
    """The official layout of CONFIG."""
    weights = {
        key.replace("decoder.mlp.", "imnet."): value for key, value in model.state_dict().items()
    }
    weights["encoder.sub_mean.weight"] = torch.zeros(3, 3, 1, 1)
    encoder = {
        "name": "edsr-baseline",
        "args": {"no_upsampling": True, "n_resblocks": 1, "n_feats": 6},
    }
    imnet = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [8]}}
    args = {"encoder_spec": encoder, "imnet_spec": imnet}
    spec = {"name": "liif", "args": args, "sd": weights, **changes}
    return {"model": spec, "optimizer": {"name": "adam"}, "epoch": 5}


def same(a, b):
    lr = torch.rand(3, 6, 7)
    return torch.equal(a.upscale(lr, scale=2.5), b.upscale(lr, scale=2.5))


def test_ours(model, tmp_path):
    path = tmp_path / "new" / "folder" / "a.pt"
    save_checkpoint(path, CONFIG, model.state_dict(), {"step": 7})
    assert same(liif.load(path), model)
    assert read_checkpoint(path).training == {"step": 7}
    assert not liif.load(path).training
    assert [p.name for p in path.parent.iterdir()] == ["a.pt"]


def test_safetensors(model, tmp_path):
    path = tmp_path / "a.safetensors"
    save_weights(path, CONFIG, model.state_dict())
    assert same(liif.load(path), model)
    assert read_checkpoint(path).training is None


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_official(model, tmp_path, prefix):
    content = official(model)
    content["model"]["sd"] = {prefix + k: v for k, v in content["model"]["sd"].items()}
    torch.save(content, tmp_path / "a.pth")
    assert same(liif.load(tmp_path / "a.pth"), model)


def test_official_weights_in_half_precision(model, tmp_path):
    content = official(model.half())
    torch.save(content, tmp_path / "a.pth")
    assert same(liif.load(tmp_path / "a.pth"), model.float())


def error_of(path):
    with pytest.raises(UserError) as caught:
        liif.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_missing_file(tmp_path):
    assert "no such checkpoint" in error_of(tmp_path / "none.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_every_truncation_is_told(model, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".pt":
        save_checkpoint(path, CONFIG, model.state_dict())
    else:
        save_weights(path, CONFIG, model.state_dict())
    data = path.read_bytes()
    for length in [0, 1, 8, 100, len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:length])
        assert "damaged" in error_of(path)


@pytest.mark.parametrize(
    "junk", [b"hello", b"PK\x03\x04" + b"\0" * 50, b"\x80\x02}q\x00.", b"\xff"]
)
def test_not_a_checkpoint(tmp_path, junk):
    path = tmp_path / "a.pth"
    path.write_bytes(junk)
    error_of(path)


def test_other_models_name_their_keys(model, tmp_path):
    path = tmp_path / "a.pth"
    content = official(model)
    del content["model"]["sd"]["imnet.layers.0.bias"]
    content["model"]["sd"]["surplus"] = torch.zeros(2)
    content["model"]["sd"]["imnet.layers.2.weight"] = torch.zeros(3, 9)
    torch.save(content, path)
    message = error_of(path)
    assert "1 missing: decoder.mlp.layers.0.bias" in message
    assert "1 not expected: surplus" in message
    assert "decoder.mlp.layers.2.weight (3, 9) for (3, 8)" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"weights": {}}, "not a checkpoint"),
        ([1, 2], "holds a list"),
        ({"model": {"name": "foreign", "args": {}, "sd": {}}}, "'foreign'"),
        (
            {"model": {"name": "liif", "args": {"encoder_spec": {"name": "foreign"}}, "sd": {}}},
            "foreign",
        ),
        ({"format": "liif/1", "model": {"encoder": {}}, "weights": {}}, "describes no model"),
        ({"format": "liif/1", "model": CONFIG.model_dump(), "weights": {"a": 3}}, "tensors"),
        ({"format": "liif/1", "model": CONFIG.model_dump(), "weights": 3}, "not a checkpoint"),
    ],
)
def test_foreign_content(tmp_path, content, words):
    path = tmp_path / "a.pth"
    torch.save(content, path)
    assert words in error_of(path)


def test_safetensors_of_others(tmp_path):
    import safetensors.torch

    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, path)
    assert "header" in error_of(path)


def test_a_full_disk_keeps_the_old_file(model, tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    save_checkpoint(path, CONFIG, model.state_dict(), {"step": 1})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"a\.pt: cannot be written: No space left"):
        save_checkpoint(path, CONFIG, model.state_dict(), {"step": 2})
    assert read_checkpoint(path).training == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_file_size_limit_keeps_the_old_file(tmp_path):
    """The same with a real limit of the system: the write itself fails half-way."""
    script = """
import resource, signal, sys
from pathlib import Path
from liif.models.checkpoint import write_atomically
from liif.core.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
path = Path(sys.argv[1])
write_atomically(path, b"old")
try:
    write_atomically(path, b"x" * 5000)
except UserError as error:
    print(error)
"""
    path = tmp_path / "a.pt"
    done = processes.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, timeout=120
    )
    assert "cannot be written" in done.stdout, done.stderr
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_the_header_of_safetensors_is_readable(model, tmp_path):
    path = tmp_path / "a.safetensors"
    save_weights(path, CONFIG, model.state_dict())
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + size])
    assert json.loads(header["__metadata__"]["model"])["encoder"]["blocks"] == 1


def test_official_weights(official_weights):
    model = liif.load(official_weights)
    assert sum(p.numel() for p in model.parameters()) == 1_567_299


IMNET = {"args": {"hidden_dim": 8, "hidden_depth": 2}}
HYPERNET = {"args": {"hidden_list": [8]}}


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("lte", {"imnet_spec": IMNET, "mcell": True}, "mcell: True is an unknown switch"),
        ("lte-fast", {"out_dim": 4}, "out_dim: 4 is not supported"),
        ("sronet", {"activation": "relu"}, "activation: 'relu' is an unknown switch"),
        (
            "lmliif",
            {"imnet_spec": IMNET, "hypernet_spec": HYPERNET, "mod_input": False},
            "mod_input: False is not supported",
        ),
        (
            "lmlte",
            {"imnet_spec": {"args": {**IMNET["args"], "act": 1}}, "hypernet_spec": HYPERNET},
            "act: 1 is an unknown switch",
        ),
    ],
)
def test_unknown_switches_of_other_code_are_refused(name, args, message):
    spec = {"name": "edsr-baseline", "args": {"no_upsampling": True}}
    content = {"model": {"name": name, "args": {"encoder_spec": spec, **args}, "sd": {}}}
    with pytest.raises(ValueError, match=re.escape(message)):
        translate(content)


@pytest.mark.slow  # a Python of its own: others have imported the compiler by now
def test_checking_a_file_does_not_import_the_compiler():
    code = """
import sys, torch
from helpers.small_models import SMALL_DECODERS, SMALL_ENCODERS, small
with torch.device("meta"):
    for name in SMALL_DECODERS:
        small(decoder=name)
    for name in SMALL_ENCODERS:
        small(encoder=name)
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path, tiny_checkpoint, value):
    """A diverged training leaves such files: they would draw a gray picture."""
    content = torch.load(tiny_checkpoint, weights_only=True)
    key = next(iter(content["weights"]))
    content["weights"][key].view(-1)[0] = value
    torch.save(content, tmp_path / "diverged.pt")
    with pytest.raises(UserError, match=f"weights that are not finite: {re.escape(key)}"):
        load_checkpoint(tmp_path / "diverged.pt")
