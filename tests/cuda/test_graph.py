"""The training step as a CUDA graph does what `train_step` does. On the pretend device a graph is
the step, called again (tests/cuda/conftest.py), in a few of these tests: it is slow."""

import functools
import math

import pytest
import torch
from helpers.gpu import count_waits
from helpers.pretend import IS_PRETEND
from helpers.small_models import SMALL_DECODERS, SMALL_ENCODERS, small_config
from helpers.training import config, weights

import liif.training.graph
import liif.training.train
from liif.core.distributed import Team
from liif.core.errors import UserError
from liif.data.loader import Batch
from liif.models.checkpoint import read_checkpoint
from liif.training.graph import EAGER, GraphedStep
from liif.training.losses.nll import NllConfig
from liif.training.losses.pointwise import L1Config
from liif.training.state import new_state
from liif.training.step import DivergedError, StepResult, train_step
from liif.training.train import train

pytestmark = pytest.mark.gpu

STEPS = 7
on_a_card = pytest.mark.skipif(IS_PRETEND, reason="tests/training/test_graph.py has it, faster")


def batch(seed, device, *, queries=60, bad=False):
    generator = torch.Generator().manual_seed(seed)
    shapes = (2, 3, 12, 12), (2, queries, 2), (2, 2), (2, queries, 3)
    lr, coord, cell, target = (torch.rand(shape, generator=generator) for shape in shapes)
    if bad:
        target[0, 0, 0] = math.nan
    return Batch(*(x.to(device) for x in (lr, coord * 2 - 1, cell / 10 + 0.05, target)))


def fresh(device, encoder="edsr-baseline", decoder="liif", **options):
    torch.cuda.manual_seed(0)
    return new_state(
        small_config(encoder, decoder), seed=0, device=device, learning_rate=1e-3, **options
    )


def eager_of(state, **options):
    return functools.partial(
        train_step, state.model, state.optimizer, losses=state.losses, **options
    )


def take(state, step, numbers, sizes=(60,)):
    """Take steps, each read while the next one runs, with batches of so many queries in turn.
    Returns their losses."""
    late, losses = None, []
    for i in [*numbers, None]:
        ahead = late is not None
        following = None
        if i is not None:
            rate = 1e-3 * 0.9 ** (state.step + ahead)
            queries = sizes[i % len(sizes)]
            each = batch(i, state.model.mean.device, queries=queries)
            following = step(batch=each, learning_rate=rate)
        if late is not None:
            losses.append(late.read().loss)
            if isinstance(late, StepResult):
                state.update_ema()
            state.step += 1
        late = following
        if isinstance(late, StepResult):
            losses.append(late.loss)
            state.update_ema()
            state.step += 1
            late = None
    return losses


def learned(state):
    models = [state.model] + ([] if state.ema_model is None else [state.ema_model])
    return [torch.cat([p.detach().flatten() for p in each.parameters()]) for each in models]


def same(found, expected):
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def assert_recorded_is_eager(make, *, is_recorded=True, sizes=(60,), **options):
    """Compare a graph with `train_step`, which a card computes a little differently each time: by
    how much the weights and their average differ, as a share of their way from the first ones. A
    step more or less is a seventh of it, the learning rate of another step a tenth of that."""
    ways = []
    for kind in ("eager", "eager", "graph"):
        state = make()
        before = learned(state)
        step = eager_of(state, **options)
        if kind == "graph":
            step = GraphedStep(state, step, **options)
        losses = take(state, step, range(STEPS), sizes)
        assert len(losses) == STEPS and all(map(math.isfinite, losses))
        if kind == "graph":
            assert len(step.graphs) == (len(sizes) if is_recorded else 0)
        ways.append([b - a for a, b in zip(before, learned(state), strict=True)])
    for eager, again, graph in zip(*ways, strict=True):
        noise, difference = (float((each - eager).norm() / eager.norm()) for each in (again, graph))
        assert difference <= 3 * noise + 0.005, f"{difference:.2g}, and {noise:.2g} without a graph"


@on_a_card
@pytest.mark.parametrize("decoder", SMALL_DECODERS)
def test_every_decoder(decoder, device):
    assert_recorded_is_eager(functools.partial(fresh, device, decoder=decoder))


@on_a_card
def test_a_step_that_asks_the_device_is_not_recorded(device, caplog):
    """And the next one that does not is."""

    def make():
        model = small_config(decoder="clit", stages=2)
        return new_state(model, seed=0, device=device, learning_rate=1e-3)

    with caplog.at_level("INFO", "liif"):
        assert_recorded_is_eager(make, is_recorded=False)
    assert "cannot be recorded" in caplog.text and "synchroniz" in caplog.text
    assert_recorded_is_eager(functools.partial(fresh, device))


@on_a_card
@pytest.mark.parametrize("encoder", [e for e in SMALL_ENCODERS if e != "edsr-baseline"])
def test_every_encoder(encoder, device):
    assert_recorded_is_eager(functools.partial(fresh, device, encoder=encoder))


@on_a_card
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_batches_of_two_sizes(device, optimizer):
    """Whose graphs share their memory."""
    make = functools.partial(fresh, device, decoder="fourier", optimizer=optimizer, ema=0.9)
    assert_recorded_is_eager(make, sizes=(60, 200), clip_gradient=0.05)


@on_a_card
def test_likelihood(device):
    losses = (L1Config(), NllConfig(weight=0.1))
    assert_recorded_is_eager(functools.partial(fresh, device, decoder="linf", loss=losses))


@on_a_card
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_every_optimizer_and_precision(optimizer, precision, device):
    make = functools.partial(
        fresh, device, optimizer=optimizer, weight_decay=0.1, ema=0.9, precision=precision
    )
    assert_recorded_is_eager(make, precision=precision, clip_gradient=0.05, accumulate=2)


@on_a_card
def test_random_numbers_advance(device):
    """Those of stochastic depth are other ones at each step, and those of the eager steps."""

    def make():
        state = fresh(device, encoder="swinir")
        for module in state.model.modules():
            if hasattr(module, "drop_path"):
                module.drop_path = 0.5
        return state

    assert_recorded_is_eager(make)
    state = make()
    step = GraphedStep(state, eager_of(state))
    take(state, step, range(EAGER + 1))
    before = torch.cuda.get_rng_state(device)
    take(state, step, [0])
    assert not torch.equal(torch.cuda.get_rng_state(device), before)


@on_a_card
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("at", [EAGER, EAGER + 2])
def test_a_step_that_is_not_finite_changes_nothing(optimizer, at, device):
    state = fresh(device, optimizer=optimizer, weight_decay=0.1, ema=0.9)
    step = GraphedStep(state, eager_of(state), clip_gradient=1.0)
    take(state, step, range(at))
    before = learned(state)
    memory = [v.clone() for m in state.optimizer.state.values() for v in m.values()]
    late = step(batch=batch(at, device, bad=True), learning_rate=1e-3)
    step(batch=batch(at + 1, device), learning_rate=1e-3)
    with pytest.raises(DivergedError, match="loss nan"):
        late.read()
    assert same(learned(state), before)
    now = [v for m in state.optimizer.state.values() for v in m.values()]
    assert all(torch.equal(a, b) for a, b in zip(now, memory, strict=True))
    take(state, step, [at])
    assert all(each.isfinite().all() for each in learned(state))
    assert not same(learned(state), before)


def test_the_host_does_not_wait(device):
    state = fresh(device, ema=0.9)
    step = GraphedStep(state, eager_of(state), clip_gradient=1.0)
    take(state, step, range(EAGER + 1))
    each = batch(0, device)
    with count_waits() as waits:
        started = [step(batch=each, learning_rate=1e-3) for _ in range(5)]
    assert not waits
    losses = [late.read().loss for late in started]
    assert losses == sorted(losses, reverse=True) and len(set(losses)) == 5


@on_a_card
@pytest.mark.parametrize("goes_on", [True, False])
def test_a_run_goes_on_with_or_without_graphs(learnable, tmp_path, device, goes_on, caplog):
    options = {"valid": None, "save_every": 100, "steps": 12, "ema": 0.9}
    team = Team(device=device)
    with caplog.at_level("INFO", "liif"):
        assert train(config(learnable, cuda_graphs=False, **options), tmp_path / "whole", team=team)
        calls = iter(range(100))
        parts = tmp_path / "parts"
        train(
            config(learnable, cuda_graphs=True, **options),
            parts,
            team=team,
            stopping=lambda: next(calls) == 7,
        )
        assert read_checkpoint(parts / "last.pt").training["step"] == 8
        assert train(config(learnable, cuda_graphs=goes_on, **options), parts, team=team)
    assert "cuda_graphs" not in caplog.text
    found, expected = weights(parts), weights(tmp_path / "whole")
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-4, rtol=1e-3, msg=key)


def test_a_run_that_is_not_finite_stops_at_the_step(learnable, tmp_path, device, monkeypatch):
    real = liif.training.train.batches

    def failing(*inputs, **options):
        for i, each in enumerate(real(*inputs, **options)):
            yield each._replace(target=each.target * math.nan if i == 9 else each.target)

    monkeypatch.setattr(liif.training.train, "batches", failing)
    chosen = config(learnable, cuda_graphs=True, valid=None, save_every=100)
    with pytest.raises(UserError, match="step 10: loss nan"):
        train(chosen, tmp_path, team=Team(device=device))
    assert read_checkpoint(tmp_path / "last.pt").training["step"] == 9
    assert all(value.isfinite().all() for value in weights(tmp_path).values())
