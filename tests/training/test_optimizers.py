"""Muon beside PyTorch's, and beside what singular values say."""

import copy

import pytest
import torch
from helpers.models import TINY
from helpers.small_models import every_model, small
from helpers.training import state_of
from torch import nn

import liif.training.optimizers
from liif.models.checkpoint import read_checkpoint
from liif.training.config import TrainConfig
from liif.training.optimizers import Muon, orthogonal
from liif.training.train import train


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 40), (2, 40, 16), (1, 1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_singular_values_come_near_one_and_vectors_stay(shape, dtype):
    x = torch.randn(shape, generator=torch.manual_seed(0))
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    # In the basis of its own singular vectors the result is diagonal.
    inside = u.mT @ orthogonal(x, dtype) @ v.mT
    values = inside.diagonal(dim1=1, dim2=2)
    away = inside - torch.diag_embed(values)
    tolerance = 1e-4 if dtype == torch.float32 else 0.05
    assert away.abs().max() < tolerance
    # Directions that are a hundredth of the strongest and less may stay behind.
    strong = s / s[:, :1] > 0.05
    assert values[strong].min() > 0.6
    assert values.max() < 1.25


def test_a_matrix_of_zeros_stays():
    assert torch.equal(orthogonal(torch.zeros(1, 4, 6)), torch.zeros(1, 4, 6))


def updated(model, *optimizers):
    """The weights after five updates by the same gradients."""
    for n in range(5):
        for i, p in enumerate(model.parameters()):
            p.grad = torch.randn(p.shape, generator=torch.manual_seed(100 * n + i)) / 50
        for optimizer in optimizers:
            optimizer.step()
    return list(model.parameters())


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 20, 3), nn.Linear(12, 20), nn.Linear(20, 3)
    )


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
def test_as_pytorch_does_it_and_adam_for_the_rest():
    ours = updated(model := network(), Muon(model, lr=1e-2))
    theirs = network()
    convolution = nn.Parameter(theirs[1].weight.data.flatten(1))  # the same memory

    class OfConvolution:
        def step(self):
            convolution.grad = theirs[1].weight.grad.flatten(1)

    how = {"lr": 1e-2, "weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}
    muon = torch.optim.Muon([convolution, theirs[2].weight], **how)
    rest = [*theirs[0].parameters(), theirs[1].bias, theirs[2].bias, *theirs[3].parameters()]
    adam = torch.optim.Adam(rest, lr=1e-2)
    theirs = updated(theirs, OfConvolution(), muon, adam)
    for begin, a, b in zip(network().parameters(), ours, theirs, strict=True):
        if any(b is p for p in rest):
            assert torch.equal(a, b)
        else:  # PyTorch iterates in bf16
            assert (a - b).abs().mean() < 0.02 * (b - begin).abs().mean()


@every_model
def test_every_parameter_moves_once_and_colours_are_adams(encoder, decoder):
    model = small(encoder, decoder)
    optimizer = Muon(model, lr=1e-3)
    others, hidden = (group["params"] for group in optimizer.param_groups)
    assert sorted(map(id, [*others, *hidden])) == sorted(map(id, model.parameters()))
    assert hidden and all(p.ndim > 1 and min(p.shape[:2]) > 3 for p in hidden)
    assert {3} <= {n for p in others if p.ndim > 1 for n in p.shape[:2]}
    before = [p.clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=torch.manual_seed(p.numel()))
    optimizer.step()
    for p, was in zip(model.parameters(), before, strict=True):
        # Whatever the gradient's size, elements move by about the rate.
        assert 0.05e-3 < (p - was).abs().mean() < 1.01e-3


def test_a_run_goes_on_exactly(tmp_path, photos):
    chosen = TrainConfig.model_validate(
        {
            "model": TINY,
            "train_data": {
                "sampling": "random-scale",
                "images": str(photos),
                "patch": 8,
                "queries": 32,
            },
            **{"steps": 6, "batch_size": 2, "workers": 0, "optimizer": "muon", "ema": 0.9},
        }
    )
    assert train(chosen, tmp_path / "whole")
    calls = iter([False] * 3 + [True])
    assert not train(chosen, tmp_path / "parts", stopping=lambda: next(calls))
    assert train(chosen, tmp_path / "parts")
    a, b = (read_checkpoint(tmp_path / run / "last.pt") for run in ("whole", "parts"))
    assert str(a.training["optimizer"]) == str(b.training["optimizer"])
    assert "exp_avg" in str(a.training["optimizer"])
    for key, value in a.training["weights"].items():
        assert torch.equal(b.training["weights"][key], value)


def test_the_average_leaves_the_random_start_behind(photos):
    """After 60 steps a plain average of decay 0.999 would hold 94 % of the first weights."""
    config = TrainConfig.model_validate(
        {
            "model": TINY,
            "train_data": {"sampling": "random-scale", "images": str(photos)},
            "ema": 0.999,
        }
    )
    state = state_of(config, torch.device("cpu"))
    weight, average = (
        m.get_parameter("decoder.mlp.layers.0.weight") for m in (state.model, state.eval_model)
    )
    for step in range(60):
        state.step = step
        with torch.no_grad():
            weight.fill_(step)
        state.update_ema()
    # The steps that count are the last sixth: a lag of about 60 / 9 steps.
    assert 50 < average.mean() < 59
    state.step = 10**6
    before = average.mean()
    with torch.no_grad():
        weight.fill_(1059.0)
    state.update_ema()
    assert (average.mean() - before).item() == pytest.approx(
        (1059 - before.item()) / 1000, rel=1e-3
    )


@pytest.mark.parametrize("failing", ["orthogonal", "adam"])
def test_a_step_without_memory_changes_nothing(monkeypatch, failing):
    """Memory runs out after some groups of weights are computed, or before Adam's part."""
    model = network()
    optimizer = Muon(model, lr=1e-2)
    updated(model, optimizer)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()["state"]))
    calls = []

    def orthogonal_once(*args):
        calls.append(args)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return orthogonal(*args)

    def adam(self, closure=None):
        raise torch.OutOfMemoryError("CUDA out of memory")

    if failing == "adam":
        monkeypatch.setattr(torch.optim.Adam, "step", adam)
    else:
        monkeypatch.setattr(liif.training.optimizers, "orthogonal", orthogonal_once)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    with pytest.raises(torch.OutOfMemoryError):
        optimizer.step()
    assert str(before) == str((model.state_dict(), optimizer.state_dict()["state"]))
