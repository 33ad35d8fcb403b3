"""Training in float16: it learns, skips steps whose gradient overflows, and resumes exactly."""

import math
from itertools import pairwise

import pytest
import torch
from helpers.training import assert_same_weights, config, metrics, state_of, weights

import liif.training.train
from liif.core.errors import UserError
from liif.data.loader import Batch
from liif.models.checkpoint import read_checkpoint
from liif.training.step import DivergedError, train_step
from liif.training.train import train


def batch():
    make = torch.manual_seed(0)
    lr, coord, target = (torch.rand(shape, generator=make) for shape in [
        (2, 3, 8, 8), (2, 50, 2), (2, 50, 3),
    ])  # fmt: skip
    return Batch(lr, coord, torch.ones(2, 2), target)


def step_of(state, **options):
    return train_step(
        state.model, state.optimizer, batch(), learning_rate=1e-3, precision="fp16",
        scaler=state.scaler, **options,
    )  # fmt: skip


def test_it_stays_close_to_float32(learnable):
    half, full = state_of(config(learnable, precision="fp16")), state_of(config(learnable))
    a = step_of(half, accumulate=2)
    b = train_step(full.model, full.optimizer, batch(), learning_rate=1e-3)
    assert a.loss != b.loss and a.loss == pytest.approx(b.loss, rel=0.01)
    assert a.gradient_norm == pytest.approx(b.gradient_norm, rel=0.05)  # without the factor
    assert all(p.dtype == torch.float32 for p in half.model.parameters())


def test_a_gradient_that_overflows_skips_the_step(learnable):
    state = state_of(config(learnable, precision="fp16"))
    state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": 2.0**120})
    before = {key: value.clone() for key, value in state.model.state_dict().items()}
    result = step_of(state)
    assert result.is_skipped and math.isfinite(result.loss)
    assert all(torch.equal(value, before[key]) for key, value in state.model.state_dict().items())
    assert not state.optimizer.state and state.scaler.get_scale() == 2.0**119


def test_overflow_at_the_smallest_factor_and_a_loss_that_is_not_finite_diverge(learnable):
    state = state_of(config(learnable, precision="fp16"))
    state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": 1.0})
    weight = next(state.model.parameters())
    weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(DivergedError, match="gradient norm"):
        step_of(state)
    state = state_of(config(learnable, precision="fp16"))
    with torch.no_grad():
        next(state.model.parameters()).fill_(math.nan)
    with pytest.raises(DivergedError, match="loss nan"):
        step_of(state)


def test_a_run_learns_and_resumes_exactly(learnable, tmp_path, monkeypatch):
    """The factor doubles every two steps, until a step is skipped."""
    growth = torch.amp.GradScaler

    def eager(device):
        return growth(device, init_scale=2.0**32, growth_interval=2)

    monkeypatch.setattr(torch.amp, "GradScaler", eager)
    chosen = config(learnable, steps=24, precision="fp16!", log_every=1, valid=None)
    assert train(chosen, tmp_path / "whole")
    assert train(chosen.model_copy(update={"steps": 11}), tmp_path / "parts")
    assert train(chosen, tmp_path / "parts")
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    a, b = (read_checkpoint(tmp_path / n / "last.pt").training for n in ("whole", "parts"))
    assert a["scaler"] == b["scaler"] and a["scaler"]["scale"] < 2.0**32
    lines = metrics(tmp_path / "whole")
    assert lines == metrics(tmp_path / "parts")
    skipped = [line["step"] for line in lines if line["loss"] is None]
    assert skipped and len(skipped) < len(lines)
    factors = [line["loss_scale"] for line in lines]
    assert any(b == 2 * a for a, b in pairwise(factors))
    taken = [line["loss"] for line in lines if line["loss"] is not None]
    assert taken[-1] < taken[0]


def test_a_device_without_float16_is_explained(learnable, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("\"slow_conv2d_cpu\" not implemented for 'Half'")

    monkeypatch.setattr(liif.training.train, "train_step", fail)
    with pytest.raises(UserError, match=r"^step 1: precision: fp16 is not .*use bf16"):
        train(config(learnable, precision="fp16!", valid=None), tmp_path)


def test_a_damaged_factor_is_refused(learnable, tmp_path):
    chosen = config(learnable, steps=1, precision="fp16!", valid=None)
    train(chosen, tmp_path)
    content = torch.load(tmp_path / "last.pt")
    content["training"]["scaler"]["scale"] = "a"
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(UserError, match="the state of its run is damaged"):
        train(chosen, tmp_path)
    assert weights(tmp_path)
