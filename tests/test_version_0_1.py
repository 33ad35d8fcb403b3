"""Checkpoints and run folders that version 0.1 wrote load, and train on as they would have then."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers.paths import GOLDEN
from helpers.training import metrics
from safetensors.torch import load_file

import liif

RUN = GOLDEN / "run-0.1"
NAMES = ["adam", "muon"]
"""adam: with an average of the weights and milestones. muon: with warm-up, cosine and clipping."""


@pytest.fixture(params=NAMES)
def name(request, folder):
    """A run, in a copy of its project, which is the working folder."""
    shutil.copytree(RUN / "photos", "photos")
    shutil.copytree(RUN / "runs", "runs")
    shutil.copy(f"runs/{request.param}/config.yaml", f"{request.param}.yaml")
    return request.param


def test_its_model_loads(name):
    model = liif.load(f"runs/{name}/last.pt")
    end = liif.load(RUN / "end" / f"{name}.safetensors")
    image = torch.rand(3, 9, 8)
    assert model.upscale(image, scale=2.5).shape == end.upscale(image, scale=2.5).shape


def test_its_run_is_listed(cli, name):
    status, out, _ = cli("runs")
    assert status == 0 and name in out


def test_its_run_continues_to_the_same_end(cli, name):
    assert cli("train", "--config", f"{name}.yaml", "--device", "cpu")[0] == 0
    expected = [json.loads(line) for line in (RUN / "end" / f"{name}.jsonl").open()]
    found = metrics(Path("runs", name))
    assert [(line["kind"], line["step"]) for line in found] == [
        (line["kind"], line["step"]) for line in expected
    ]
    for ours, then in zip(found, expected, strict=True):
        for key in {"loss", "gradient_norm", "learning_rate", "mean_psnr"} & then.keys():
            assert ours[key] == pytest.approx(then[key], rel=1e-5), key
    ours = load_file(f"runs/{name}/last.safetensors")
    then = load_file(RUN / "end" / f"{name}.safetensors")
    assert ours.keys() == then.keys()
    for key, value in then.items():
        torch.testing.assert_close(ours[key], value, atol=1e-6, rtol=0)
    assert len(json.loads(Path("runs", name, "record.json").read_text())) == 2
