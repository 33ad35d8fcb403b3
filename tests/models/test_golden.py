"""Outputs of the official implementation, number by number."""

import json
import re

import numpy as np
import pytest
import torch

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


def weights_of(shared, case):
    if case.startswith("official"):
        return shared / "weights" / "edsr-baseline-liif.pth"
    return shared / "golden" / f"{case}.pth"


def test_every_case_of_the_index_is_listed(shared):
    index = json.loads((shared / "golden" / "index.json").read_text())
    assert {entry["file"] for entry in index} == {f"{c}.npz" for c in [*CASES, "train-liif-small"]}


@pytest.mark.parametrize("case", CASES)
def test_outputs(shared, case):
    model = load_checkpoint(weights_of(shared, case))
    data = np.load(shared / "golden" / f"{case}.npz")
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
