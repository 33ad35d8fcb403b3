"""`liif convert`: identical outputs in every format; `--overwrite`, also of `liif export`."""

from pathlib import Path

import pytest
import torch
from helpers.pictures import texture

from liif.commands import export as command
from liif.images.convert import to_tensor
from liif.models.checkpoint import load_checkpoint

pytestmark = pytest.mark.usefixtures("folder")


def test_convert_round_trip_gives_identical_outputs(cli, refused, tiny_checkpoint):
    content = torch.load(tiny_checkpoint, weights_only=True)
    official = {
        "name": "liif",
        "args": {
            "encoder_spec": {"name": "edsr-baseline",
                             "args": {"no_upsampling": True, "n_resblocks": 1, "n_feats": 8}},
            "imnet_spec": {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [16]}},
            "local_ensemble": True, "feat_unfold": True, "cell_decode": True,
        },
        "sd": {k.replace("decoder.mlp.", "imnet."): v for k, v in content["weights"].items()},
    }  # fmt: skip
    torch.save({"model": official, "optimizer": {}, "epoch": 3}, "a.pth")
    assert cli("convert", "--checkpoint", "a.pth", "-o", "a.safetensors")[0] == 0
    assert cli("convert", "--checkpoint", "a.safetensors", "--output", "b.pt")[0] == 0
    lr = to_tensor(texture(9, 11))
    wanted = load_checkpoint(tiny_checkpoint).upscale(lr, scale=2.7)
    for name in ("a.pth", "a.safetensors", "b.pt"):
        assert torch.equal(load_checkpoint(name).upscale(lr, scale=2.7), wanted)
    assert "c.onnx: must end in .safetensors or .pt" in refused("convert", "-o", "c.onnx")
    missing = refused("convert", "--checkpoint", "no.pth", "-o", "c.pt")
    assert "no.pth: no such checkpoint file" in missing


def test_a_name_of_a_checkpoint_is_ignored(cli, refused, tiny_checkpoint, scoring, monkeypatch):
    monkeypatch.setattr(command, "export", lambda *arguments: [])
    named = ("--checkpoint", f"mine={tiny_checkpoint}")
    assert cli("convert", *named, "-o", "c.pt")[0] == 0
    assert cli("export", *named, "-o", "out")[0] == 0
    assert cli("test", "--config", scoring, *named)[0] == 0
    assert cli("upscale", "photos/a.png", "-o", "b.png", "--scale", "1.5", *named)[0] == 0
    Path("x=c.pt").write_bytes(b"")  # an existing file with "=" in its name is a file
    assert "x=c.pt" in refused("convert", "--checkpoint", "x=c.pt", "-o", "d.pt")


def test_an_existing_file_needs_overwrite(cli, refused, tiny_checkpoint):
    Path("b.pt").write_text("mine")
    Path("input.pt").write_bytes(tiny_checkpoint.read_bytes())
    convert = ("convert", "--checkpoint", "input.pt", "-o")
    assert "b.pt: exists already; --overwrite replaces it" in refused(*convert, "b.pt")
    assert Path("b.pt").read_text() == "mine"
    assert cli(*convert, "b.pt", "--overwrite")[0] == 0
    assert load_checkpoint("b.pt").halo == load_checkpoint("input.pt").halo
    assert "input.pt: is an input" in refused(*convert, "input.pt", "--overwrite")
    assert Path("input.pt").read_bytes() == tiny_checkpoint.read_bytes()


def test_an_existing_export_needs_overwrite(cli, refused, tiny_checkpoint, monkeypatch):
    written = []
    monkeypatch.setattr(command, "export", lambda *arguments: written.append(arguments) or [])
    Path("out").mkdir()
    Path("out/decoder.pt2").write_text("mine")
    export = ("export", "--checkpoint", tiny_checkpoint, "--format", "torch", "-o", "out")
    assert "out/decoder.pt2: exists already; --overwrite replaces it" in refused(*export)
    assert not written
    Path("out/encoder.pt2").write_bytes(tiny_checkpoint.read_bytes())
    own = ("--checkpoint", "out/encoder.pt2", "--overwrite")
    assert "out/encoder.pt2: is an input" in refused(*export, *own)
    assert cli(*export, "--overwrite")[0] == 0 and len(written) == 1
    assert cli(*export[:-1], "empty")[0] == 0 and len(written) == 2
