"""Outputs of the official implementation, number by number."""

import json
import re

import numpy as np
import pytest
import torch
from helpers.paths import GOLDEN, golden_file

from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import load_checkpoint
from liif.models.geometry import cell_of, grid_coord, pixel_centres

CASES = [
    "official-edsr-baseline-liif",
    "official-edsr-baseline-liif-crop",
    "liif-small-full",
    "liif-small-no-cell",
    "liif-small-no-unfold",
    "liif-small-no-ensemble",
    "metasr-small",
    "edsr-small-x2",
    "edsr-small-x3",
    "edsr-small-x4",
    "rdn-small",
]
RDN = {
    "encoder": {"name": "rdn", "configuration": "A", "width": 8},
    "decoder": {"name": "liif", "hidden": [32, 32]},
}


def drawn_rdn(folder):
    """The weights of rdn-small, which are too many to store, in a file of the official layout."""
    weights = build_model(ModelConfig.model_validate(RDN), seed=11).state_dict()
    total = sum(value.double().abs().sum().item() for value in weights.values())
    assert total == pytest.approx(51995.565, abs=0.01), "PyTorch draws other random numbers"
    weights = {k.replace("decoder.mlp.", "imnet."): v.half() for k, v in weights.items()}
    encoder = {"name": "rdn", "args": {"G0": 8, "RDNconfig": "A", "no_upsampling": True}}
    imnet = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [32, 32]}}
    args = {"encoder_spec": encoder, "imnet_spec": imnet}
    torch.save({"model": {"name": "liif", "args": args, "sd": weights}}, folder / "rdn-small.pth")
    return folder / "rdn-small.pth"


@pytest.fixture
def weights(case, request, tmp_path):
    if case.startswith("official"):
        return request.getfixturevalue("official_weights")
    return drawn_rdn(tmp_path) if case == "rdn-small" else GOLDEN / f"{case}.pth"


def test_every_case_of_the_index_is_listed():
    index = json.loads((GOLDEN / "index.json").read_text())
    assert {entry["file"] for entry in index} == {f"{c}.npz" for c in [*CASES, "train-liif-small"]}


@pytest.mark.parametrize(
    "case", [*(pytest.param(case, marks=pytest.mark.slow) for case in CASES[:2]), *CASES[2:]]
)
def test_outputs(case, weights):
    model = load_checkpoint(weights)
    data = np.load(golden_file(f"{case}.npz"))
    lr = torch.from_numpy(data["lr"]).permute(2, 0, 1) / 255
    sizes = [name for name in data.files if re.fullmatch(r"\d+x\d+", name)]
    assert sizes
    for name in sizes:
        H, W = map(int, name.split("x"))
        expected = torch.from_numpy(data[name]).permute(2, 0, 1)
        whole = model.upscale(lr, size=(H, W), clamp=False)
        difference = (whole - expected).abs()
        assert difference.max() < 1e-4 and difference.mean() < 1e-6, name
        # The same image asked for point by point.
        y, x = pixel_centres(H, lr), pixel_centres(W, lr)
        with torch.inference_mode():
            field = model.encode(lr[None])
            points = model.query(field, grid_coord(y, x)[None], cell_of((H, W), lr))
        difference = (points[0].T.reshape(3, H, W) - expected).abs()
        assert difference.max() < 1e-4 and difference.mean() < 1e-6, name
