"""A run on a GPU learns what one on a CPU does, with every option; and goes on on the other."""

import shutil

import pytest
import torch
from helpers.gpu import EXACT
from helpers.pretend import IS_PRETEND
from helpers.small_models import SMALL_DECODERS
from helpers.training import config, metrics, state_of, weights

import liif.training.train
from liif.core.distributed import Team
from liif.training.train import train

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
EDSR = {"name": "edsr-baseline", "blocks": 1, "width": 8}
LIIF = {"name": "liif", "hidden": [16]}
SQUARE = {"layout": "patch", "queries": 44 * 44, "patch": 48, "scale": [1, 1]}
HALF = 0.05
"""Largest relative difference of losses and gradients in half precision."""


def of(decoder, **encoder):
    return {"encoder": {**EDSR, **encoder}, "decoder": SMALL_DECODERS[decoder]}


CASES = {
    "the published recipe": ({}, None),
    "everything around it": (
        {"ema": 0.9, "clip_gradient": 0.5, "accumulate": 2, "gradient_checkpointing": True,
         "deterministic": True, "workers": 1, "schedule": "cosine", "milestones": []},
        None,
    ),
    "adamw and groups, images on the device": (
        {"optimizer": "adamw", "weight_decay": 0.1, "cache": "device",
         "groups": [{"match": "encoder.*", "learning_rate_factor": 0.5}]},
        None,
    ),
    "muon in bf16, average": ({"optimizer": "muon", "precision": "bf16", "ema": 0.9}, HALF),
    "fp16 with a scaled loss": ({"precision": "fp16", "accumulate": 2}, HALF),
    "tf32": ({"precision": "tf32"}, HALF),
    "losses of squares": (
        {"data": SQUARE, "loss": [{"name": n} for n in ("charbonnier", "gradient", "fft", "mse")]
         + [{"name": "ms-ssim"}, {"name": "adversarial", "width": 4}]},
        HALF,  # Adam's first steps are signs, also of gradients that are nothing but rounding
    ),
    "slopes of thera": ({"model": of("thera"), "loss": [{"name": "l1"}, {"name": "slope"}]}, None),
    "likelihood of linf": ({"model": of("linf"), "loss": [{"name": "l1"}, {"name": "nll"}]}, None),
}  # fmt: skip


def run(photos, folder, device, *, cache="memory", data=None, valid=None, **changes):
    data = {"sampling": "random-scale", "images": str(photos), "cache": cache, **(data or {})}
    defaults = {"steps": 3, "batch_size": 2, "log_every": 1, "milestones": [2], "valid": valid}
    data = {"patch": 12, "queries": 60, **data}
    chosen = config(photos, **{**defaults, "train_data": data, **changes})
    assert train(chosen, folder, team=Team(device=device))
    return chosen


def scores(folder):
    """Loss, gradient and PSNR of every line of the log."""
    keys = ("loss", "gradient_norm", "mean_psnr")
    return [[line[key] for key in keys if key in line] for line in metrics(folder)]


@pytest.mark.parametrize("case", CASES)
def test_it_learns_what_a_cpu_does(case, learnable, tmp_path, device):
    changes, limit = CASES[case]
    if case == "everything around it":
        scored = {"images": str(learnable), "scales": [2]}
        valid = {**scored, "limit": 1, "crop": 32}
        changes = {**changes, "valid": valid, "test": scored}
    run(learnable, tmp_path / "gpu", device, **changes)
    chosen = run(learnable, tmp_path / "cpu", CPU, **{**changes, "precision": "float32"})
    found, expected = scores(tmp_path / "gpu"), scores(tmp_path / "cpu")
    assert len(found) == len(expected) == 3 + ("valid" in changes)
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, rel=limit or 10 * EXACT)
    start = state_of(chosen, CPU).eval_model.state_dict()
    found, expected = weights(tmp_path / "gpu"), weights(tmp_path / "cpu")
    most = 0.5 if limit else 0.02 if IS_PRETEND else 0.1  # Adam's first steps are signs
    for name, weight in expected.items():
        moved, apart = (weight - start[name]).norm(), (found[name] - weight).norm()
        assert apart <= most * moved, name


def test_it_goes_on_on_the_other(learnable, tmp_path, device):
    run(learnable, tmp_path / "gpu", device, ema=0.9)
    run(learnable, tmp_path / "cpu", CPU, ema=0.9)
    run(learnable, tmp_path / "gpu", CPU, ema=0.9, steps=5)
    run(learnable, tmp_path / "cpu", device, ema=0.9, steps=5)
    one, other = weights(tmp_path / "gpu"), weights(tmp_path / "cpu")
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, rtol=0, atol=1e-6 if IS_PRETEND else 1e-3)


@pytest.mark.skipif(IS_PRETEND, reason="there is nothing to compile for")
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_compiled_step(learnable, tmp_path, device):
    run(learnable, tmp_path / "plain", device)
    run(learnable, tmp_path / "compiled", device, compile=True)
    for a, b in zip(scores(tmp_path / "compiled"), scores(tmp_path / "plain"), strict=True):
        assert a == pytest.approx(b, rel=10 * EXACT)


def test_the_second_gpu_is_the_current_one_while_it_trains(learnable, tmp_path, monkeypatch):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    step, seen = liif.training.train.train_step, set()

    def noted(model, *args, **options):
        seen.add((torch.cuda.current_device(), model.mean.device.index))
        return step(model, *args, **options)

    monkeypatch.setattr(liif.training.train, "train_step", noted)
    run(learnable, tmp_path / "second", torch.device("cuda", 1))
    assert seen == {(1, 1)} and torch.cuda.current_device() == 0
    run(learnable, tmp_path / "first", torch.device("cuda", 0))
    found, expected = weights(tmp_path / "second"), weights(tmp_path / "first")
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=1e-6)
