"""The training step against the official one; its learning rate, clipping, bf16, compilation."""

import functools
import itertools
from typing import ClassVar

import numpy as np
import pytest
import torch
from helpers.paths import GOLDEN
from helpers.training import CPU, config, schedule_of, state_of, weights
from torch._inductor.exc import InvalidCxxCompiler

import liif.training.step
from liif.core.distributed import Team
from liif.core.errors import UserError
from liif.data.loader import Batch
from liif.models.checkpoint import load_checkpoint
from liif.training.step import forward_of, train_step
from liif.training.train import train


@pytest.fixture
def two_threads():
    """As the official steps were made: with other sums, one ReLU falls to the other side of zero
    (1.7e-4 in one layer's weights; exact arithmetic differs from the official file by as much)."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_twenty_official_steps(two_threads):
    model = load_checkpoint(GOLDEN / "liif-small-full.pth").train()
    data = np.load(GOLDEN / "train-liif-small.npz")
    optimizer = torch.optim.Adam(model.parameters())
    for i, expected in enumerate(data["loss"]):
        batch = Batch(*(torch.from_numpy(data[key][i]) for key in ("inp", "coord", "cell", "gt")))
        rate = float(data["learning_rate"][i])
        loss, *_ = train_step(model, optimizer, batch, learning_rate=rate)
        assert loss == pytest.approx(expected, rel=1e-4), i
    final = {key: value for key, value in data.items() if key.startswith("final/")}
    assert len(final) == 18
    for key, value in final.items():
        ours = key.removeprefix("final/").replace("imnet.", "decoder.mlp.")
        found = model.state_dict()[ours].numpy()
        assert np.linalg.norm(found - value) <= 1e-4 * np.linalg.norm(value), key


def test_the_learning_rate_is_the_published_one(learnable):
    paper = config(learnable, steps=1_000_000, learning_rate=1e-4, milestones=[200_000, 400_000])
    rates = [schedule_of(paper).at(step) for step in (0, 199_999, 200_000, 399_999, 400_000)]
    assert rates == [1e-4, 1e-4, 5e-5, 5e-5, 2.5e-5]


def test_warm_up_and_cosine(learnable):
    chosen = config(
        learnable, steps=1100, learning_rate=8e-4, warm_up=100, schedule="cosine", milestones=[]
    )
    rates = [schedule_of(chosen).at(step) for step in range(chosen.steps)]
    assert rates[0] == pytest.approx(8e-6) and rates[49] == pytest.approx(4e-4)
    assert max(rates) == rates[99] == rates[100] == 8e-4
    assert rates[600] == pytest.approx(4e-4)  # half-way down
    assert all(a > b > 0 for a, b in itertools.pairwise(rates[100:])) and rates[-1] < 1e-8


def test_gradient_clipping_limits_the_norm(learnable):
    state = state_of(config(learnable), CPU)
    batch = Batch(
        torch.rand(2, 3, 8, 8), torch.zeros(2, 9, 2), torch.ones(2, 2), torch.rand(2, 9, 3)
    )
    _, norm, *_ = train_step(
        state.model, state.optimizer, batch, learning_rate=0.0, clip_gradient=1e-3
    )
    left = torch.stack([p.grad.norm() for p in state.model.parameters()]).norm().item()
    assert norm > 0.01 and left == pytest.approx(1e-3, rel=1e-3)


def test_bf16_stays_close(learnable):
    losses = {}
    for precision in ("float32", "bf16"):
        state = state_of(config(learnable), CPU)
        torch.manual_seed(0)
        batch = Batch(
            torch.rand(2, 3, 8, 8), torch.rand(2, 50, 2), torch.ones(2, 2), torch.rand(2, 50, 3)
        )
        losses[precision], *_ = train_step(
            state.model, state.optimizer, batch, learning_rate=1e-3, precision=precision
        )
        assert all(p.dtype == torch.float32 for p in state.model.parameters())
    assert losses["bf16"] != losses["float32"]
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.01)


@pytest.mark.slow
def test_a_compiled_step_learns_the_same(learnable, tmp_path, monkeypatch):
    """Traced by torch.compile, but run without its C++ compiler."""
    compiler = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", compiler)
    assert train(config(learnable, steps=4, valid=None), tmp_path / "plain")
    assert train(config(learnable, steps=4, valid=None, compile=True), tmp_path / "c")
    plain, compiled = weights(tmp_path / "plain"), weights(tmp_path / "c")
    for key, value in plain.items():
        torch.testing.assert_close(compiled[key], value, atol=1e-5, rtol=1e-3)


def test_processes_do_not_send_buffers(learnable, monkeypatch):
    """They are constants: mean, deviation, and the weights of losses."""
    seen = {}
    monkeypatch.setattr(
        liif.training.step, "DistributedDataParallel", lambda model, **options: seen.update(options)
    )
    model = state_of(config(learnable)).model
    forward_of(model, False, 1, Team(0, 2))
    assert seen == {"broadcast_buffers": False}
    assert not dict(model.named_buffers()).keys() & model.state_dict().keys()


class CountingTeam(Team):
    """Two processes of which the other has nothing to add."""

    sums: ClassVar = []

    def sum(self, values):
        self.sums.append(values.clone())
        return values


@pytest.mark.parametrize("stop", [False, True])
def test_one_exchange_a_step_carries_loss_and_stop(learnable, stop):
    state = state_of(config(learnable))
    batch = Batch(
        torch.rand(2, 3, 8, 8), torch.zeros(2, 9, 2), torch.ones(2, 2), torch.rand(2, 9, 3)
    )
    CountingTeam.sums.clear()
    result = train_step(
        state.model, state.optimizer, batch, learning_rate=1e-3, team=CountingTeam(0, 2), stop=stop
    )
    (sums,) = CountingTeam.sums
    assert sums.tolist() == [pytest.approx(result.loss), float(stop)]
    assert result.stop is stop


def test_tf32_is_float32_on_a_cpu(learnable, tmp_path):
    for precision in ("float32", "tf32"):
        chosen = config(learnable, steps=2, valid=None, precision=precision)
        assert train(chosen, tmp_path / precision)
    a, b = weights(tmp_path / "float32"), weights(tmp_path / "tf32")
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_missing_compiler_is_one_line(learnable, tmp_path, monkeypatch):
    def compiler(model, **_):
        def forward(*args):
            try:
                raise InvalidCxxCompiler
            except InvalidCxxCompiler as error:
                raise RuntimeError("backend='inductor' raised") from error

        return forward

    monkeypatch.setattr(torch, "compile", compiler)
    with pytest.raises(UserError, match=r"step 1: compile: .*C\+\+ compiler.*compile: false"):
        train(config(learnable, compile=True, valid=None), tmp_path)
