"""`liif convert`: the same outputs in every format."""

from pathlib import Path

import pytest
import torch
from helpers.pictures import texture

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
    assert cli("convert", "a.pth", "a.safetensors")[0] == 0
    assert cli("convert", "a.safetensors", "b.pt")[0] == 0
    lr = to_tensor(texture(9, 11))
    wanted = load_checkpoint(tiny_checkpoint).upscale(lr, scale=2.7)
    for name in ("a.pth", "a.safetensors", "b.pt"):
        assert torch.equal(load_checkpoint(name).upscale(lr, scale=2.7), wanted)
    before = Path("b.pt").read_bytes()
    assert "b.pt: exists already" in refused("convert", "a.pth", "b.pt")
    assert Path("b.pt").read_bytes() == before
    assert "c.onnx: must end in .safetensors or .pt" in refused("convert", "a.pth", "c.onnx")
    assert "no.pth: no such checkpoint file" in refused("convert", "no.pth", "c.pt")
