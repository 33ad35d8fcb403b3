"""Outputs of the official implementations of later decoders and encoders, number by number."""

import json
import re

import numpy as np
import pytest
import torch
from helpers.paths import SHARED

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


@pytest.fixture(params=CASES)
def case(request):
    """Model, image, and {(size, variant): expected output}, with the tolerances."""
    index = json.loads((ZOO / "index.json").read_text())
    (entry,) = (each for each in index if each["file"] == f"{request.param}.npz")
    data = np.load(ZOO / entry["file"])
    found = {}
    for name in data.files:
        match = re.fullmatch(r"(\d+)x(\d+)-?(\w*)", name)
        if match:
            H, W, variant = match.groups()
            found[(int(H), int(W)), variant] = torch.from_numpy(data[name]).permute(2, 0, 1)
    lr = torch.from_numpy(data["lr"]).permute(2, 0, 1) / 255
    model = load_checkpoint(ZOO / f"{request.param}.pth")
    return model, lr, found, entry["suggested_tolerance"]


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
