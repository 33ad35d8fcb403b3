"""`liif models show`: what a checkpoint file is."""

import io
import os
import pickle

import pytest
import torch
from helpers.paths import SHARED
from models.test_checkpoint import CONFIG, official

from liif.core.errors import UserError
from liif.hub.describe import describe_checkpoint
from liif.models.build import build_model
from liif.models.checkpoint import read_checkpoint, save_checkpoint, save_weights

ZOO = SHARED / "golden-zoo"


@pytest.fixture
def model():
    return build_model(CONFIG, seed=3).eval()


def test_files_of_this_package(cli, model, tmp_path):
    run = {"config": {"steps": 50}, "step": 7, "optimizer": {"state": {0: torch.zeros(250)}}}
    save_checkpoint(tmp_path / "last.pt", CONFIG, model.state_dict(), run)
    save_weights(tmp_path / "a.safetensors", CONFIG, model.half().state_dict())
    status, out, _ = cli("models", "show", tmp_path / "last.pt")
    lines = dict(line.split(": ", 1) for line in out.strip().split("\n"))
    assert status == 0 and list(lines) == [
        *("file", "layout", "encoder", "decoder", "images", "parameters", "precision"),
        *("training", "also in the file"),
    ]
    assert lines["file"].startswith(str(tmp_path / "last.pt"))
    assert lines["layout"] == "this package's (liif/1, PyTorch)"
    assert lines["encoder"] == "edsr-baseline: blocks 1, width 6, residual_scale 1.0"
    assert lines["decoder"].startswith("liif: hidden [8], local_ensemble True")
    encoder = 6 * 28 + 3 * 6 * 55
    decoder = 8 * 59 + 3 * 9
    shown = f"{encoder + decoder:,}: encoder {encoder:,}, decoder {decoder:,}"
    assert lines["parameters"] == shown and lines["precision"] == "weights in float32"
    assert lines["training"] == "step 7 of 50"
    assert lines["also in the file"] == "config, optimizer (1 kB of tensors)"
    half = describe_checkpoint(tmp_path / "a.safetensors")
    assert half["precision"] == "weights in float16" and "training" not in half
    assert half["layout"] == "this package's (liif/1, safetensors)"


def test_an_official_file(model, tmp_path):
    content = official(model)
    content["model"]["sd"] = {f"module.{k}": v for k, v in content["model"]["sd"].items()}
    torch.save(content, tmp_path / "a.pth")
    found = describe_checkpoint(tmp_path / "a.pth")
    assert found["layout"] == "that of the official code, model 'liif'; names contain module."
    assert found["not used"] == "1 of 13 tensors, which follow from the model"
    assert found["also in the file"] == "optimizer, epoch 5"


@pytest.mark.skipif(not ZOO.is_dir(), reason=f"needs {ZOO}")
@pytest.mark.parametrize("path", sorted(ZOO.glob("*.pth")), ids=lambda path: path.stem)
def test_official_files_of_later_decoders(path):
    found, config = describe_checkpoint(path), read_checkpoint(path).model
    assert found["encoder"].startswith(f"{config.encoder.name}: ")
    assert found["decoder"].startswith(f"{config.decoder.name}: ")


class Command:
    def __reduce__(self):
        return os.system, ("touch ran",)


def pickled(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged or truncated"),
        (b"PK\x03\x04 no archive", "damaged or truncated"),
        (pickle.dumps(Command()), "refused: it holds more than tensors and plain values"),
        (pickled({"model": Command()}), "refused: it holds more than tensors and plain values"),
        (pickled([1]), "holds a list, not a checkpoint"),
        (
            pickled({"params": {"a.weight": torch.zeros(2, 3), "n": 1}, "b\n": 0}),
            "it holds params.a.weight (2, 3), params.n, 'b\\n'",
        ),
        (
            pickled({"model": {"name": "edsr\n", "args": {}, "sd": {}}}),
            "its model is 'edsr\\n'; known are",
        ),
        (pickled({str(i): torch.zeros(1) for i in range(99)}), "5 (1,), … (99 in all)"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(refused, folder, data, message):
    (folder / "a.pth").write_bytes(data)
    text = refused("models", "show", "a.pth")
    assert message in text and text.strip().count("\n") == 0
    assert os.listdir() == ["a.pth"]


def test_values_of_a_file_are_shown_without_control_characters(model, tmp_path):
    content = official(model) | {"epoch\x1b[2J": "\x07" * 1000}
    torch.save(content, tmp_path / "a.pth")
    text = describe_checkpoint(tmp_path / "a.pth")["also in the file"]
    assert text.isprintable() and len(text) < 600


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(UserError, match="no such checkpoint file"):
        describe_checkpoint(tmp_path / "a.pth")
