"""Outputs of the official implementations of later decoders and encoders, number by number."""

import json
import re

import numpy as np
import pytest
import torch
from helpers.paths import SHARED

import liif
from liif.hub.describe import describe_checkpoint
from liif.images.convert import to_tensor
from liif.images.rgb8 import read_image, write_image
from liif.models.checkpoint import load_checkpoint
from liif.models.geometry import cell_of, grid_coord, pixel_centres

ZOO = SHARED / "golden-zoo"
CASES = [
    "lte-small",
    "lte-plus-small",
    "lm-liif-small",
    "lm-lte-small",
    "srno-small",
    "linf-small",
    "ciaosr-small",
    "hiif-small",
    "swinir-liif-small",
    "rcan-liif-small",
]

pytestmark = pytest.mark.skipif(not ZOO.is_dir(), reason=f"needs {ZOO}")


def expected(name):
    """Image, {(size, variant): expected output}, and the tolerances."""
    index = json.loads((ZOO / "index.json").read_text())
    (entry,) = (each for each in index if each["file"] == f"{name}.npz")
    data = np.load(ZOO / entry["file"])
    found = {}
    for name in data.files:
        match = re.fullmatch(r"(\d+)x(\d+)-?(\w*)", name)
        if match:
            H, W, variant = match.groups()
            found[(int(H), int(W)), variant] = torch.from_numpy(data[name]).permute(2, 0, 1)
    return data["lr"], found, entry["suggested_tolerance"]


@pytest.fixture(params=CASES)
def case(request):
    """Model, image, and {(size, variant): expected output}, with the tolerances."""
    lr, found, limits = expected(request.param)
    model = load_checkpoint(ZOO / f"{request.param}.pth")
    return model, torch.from_numpy(lr).permute(2, 0, 1) / 255, found, limits


def test_outputs(case):
    model, lr, outputs, limits = case
    sizes = [size for size, variant in outputs if not variant]
    assert len(sizes) >= 3
    for size in sizes:
        y, x = (pixel_centres(n, lr) for n in size)
        with torch.inference_mode():
            points = model(lr[None], grid_coord(y, x)[None], cell_of(size, lr))
        for found in (model.upscale(lr, size=size, clamp=False), points[0].T.reshape(3, *size)):
            difference = (found - outputs[size, ""]).abs()
            assert difference.max() < limits["max"] and difference.mean() < limits["mean"], size


def test_a_clipped_cell_and_bands(case):
    """What evaluations of the official code do besides: they change what is computed."""
    model, lr, outputs, limits = case
    for (size, variant), expected in outputs.items():
        if variant == "clip":
            found = model.upscale(lr, size=size, clip_cell=4, clamp=False)
        elif variant == "rows10":
            y, x = (pixel_centres(n, lr) for n in size)
            with torch.inference_mode():
                field, cell = model.encode(lr[None]), cell_of(size, lr)
                bands = [model.query(field, grid_coord(r, x)[None], cell) for r in y.split(10)]
            found = torch.cat(bands, dim=1)[0].T.reshape(3, *size)
        else:
            assert not variant
            continue
        assert (found - expected).abs().max() < limits["max"], variant


def test_files_of_the_framework_of_ciaosr(tmp_path):
    content = torch.load(ZOO / "ciaosr-small.pth", weights_only=True)
    weights = {f"generator.{key}": value for key, value in content["model"]["sd"].items()}
    meta = {"iter": 1000000, "mmcv_version": "1.4.0"}
    torch.save({"meta": meta, "state_dict": weights, "optimizer": {}}, tmp_path / "latest.pth")
    lr, outputs, limits = expected("ciaosr-small")
    model = liif.load(tmp_path / "latest.pth")
    size = next(size for size, variant in outputs if not variant and size[0] > lr.shape[0])
    found = model.upscale(to_tensor(lr), size=size, clamp=False)
    assert (found - outputs[size, ""]).abs().max() < limits["max"]
    described = describe_checkpoint(tmp_path / "latest.pth")
    assert "model 'ciaosr'; names contain generator." in described["layout"]
    assert described["also in the file"] == "meta, optimizer"


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("name", CASES)
def test_files_of_a_training_give_the_expected_picture(name, prefix, folder, cli):
    """Half precision, prefixes of wrappers, and the state of an optimizer beside the weights."""
    content = torch.load(ZOO / f"{name}.pth", weights_only=True)
    weights = {
        prefix + key: value.half() if value.is_floating_point() else value
        for key, value in content["model"]["sd"].items()
    }
    content["model"]["sd"] = weights
    state = {i: {"step": 9, "exp_avg": each.float()} for i, each in enumerate(weights.values())}
    groups = [{"lr": 1e-4, "betas": (0.9, 0.999), "params": list(state)}]
    content["optimizer"] = {"name": "adam", "args": {"lr": 1e-4}}
    content["optimizer"]["sd"] = {"state": state, "param_groups": groups}
    torch.save({**content, "epoch": 1000}, "epoch-last.pth")
    lr, outputs, limits = expected(name)
    (H, W), wanted = next(
        (size, picture.permute(1, 2, 0).numpy())
        for (size, variant), picture in outputs.items()
        if not variant and size[0] > lr.shape[0]
    )
    write_image(folder / "lr.png", lr)
    found = liif.load("epoch-last.pth").upscale(to_tensor(lr), size=(H, W), clamp=False)
    assert np.abs(found.permute(1, 2, 0).numpy() - wanted).max() < limits["max"]
    options = ("--checkpoint", "epoch-last.pth", "--size", f"{W}x{H}", "--precision", "float32")
    assert cli("upscale", "lr.png", "-o", "sr.png", *options)[0] == 0
    error = np.abs(read_image(folder / "sr.png") / 255 - wanted.clip(0, 1))
    assert error.max() < 0.5 / 255 + limits["max"]  # rounded to 8 bits, and no more
