"""A sum of losses in a run: log, resuming, failures, several processes."""

import pytest
import torch
from helpers.losses import COMPARISONS, patches, small_loss
from helpers.training import assert_same_weights, config, metrics, state_of

from liif.core.distributed import Team
from liif.core.errors import UserError
from liif.models.checkpoint import read_checkpoint
from liif.training.losses.build import LOSSES
from liif.training.losses.terms import LossTerms
from liif.training.step import DivergedError, HalfUpdatedError, train_step
from liif.training.train import train

PATCHES = {"patch": 12, "scale": [3, 4], "layout": "patch", "queries": 1024}
GAN = [{"name": "l1", "weight": 1}, {"name": "adversarial", "weight": 0.1, "width": 4}]


def with_losses(photos, loss, **changes):
    data = config(photos).train_data.model_dump() | PATCHES
    return config(photos, train_data=data, loss=loss, **{"valid": None, **changes})


def losses_of(folder, name="last.pt"):
    return read_checkpoint(folder / name).training["losses"]


def assert_same(a, b):
    """Nested values, with tensors equal to the bit."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    else:
        assert a == b


# The sum


def test_the_total_is_the_weighted_sum():
    rgb, target, batch = patches(8)
    names = {"l1": 0.5, "mse": 3.0, "fft": 0.25}
    configs = [LOSSES[name](weight=weight) for name, weight in names.items()]
    losses = LossTerms(configs, std=torch.tensor(0.5))
    rgb.requires_grad_()
    values = losses(rgb, target, batch)
    assert losses.names == [*names] and values.shape == (3,)
    expected = sum(w * v for w, v in zip(names.values(), values.tolist(), strict=True))
    assert losses.total(values.tolist()) == expected
    (gradient,) = torch.autograd.grad((values * losses.weights).sum(), rgb)
    parts = [torch.autograd.grad(losses(rgb, target, batch)[i], rgb)[0] for i in range(3)]
    torch.testing.assert_close(gradient, 0.5 * parts[0] + 3 * parts[1] + 0.25 * parts[2])


def test_the_default_is_the_published_loss_to_the_bit(learnable):
    state = state_of(config(learnable))
    rgb, target, batch = patches(8)
    rgb.requires_grad_()
    published = ((rgb - target) / state.model.std).abs().mean()
    values = state.losses(rgb, target, batch)
    assert values.tolist() == [published.item()] and state.losses.total([0.3]) == 0.3
    found, expected = (
        torch.autograd.grad(v, rgb)[0] for v in ((values * state.losses.weights).sum(), published)
    )
    assert torch.equal(found, expected)


# The log


def test_every_term_is_logged_and_survives_a_stop(learnable, tmp_path):
    loss = [{"name": "l1"}, {"name": "mse", "weight": 0.5}, *GAN[1:]]
    whole = with_losses(learnable, loss, steps=10)
    assert train(whole, tmp_path / "whole")
    stops = iter([False] * 7 + [True])
    assert not train(whole, tmp_path / "cut", stopping=lambda: next(stops))
    assert train(whole, tmp_path / "cut")
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "cut")
    for line in metrics(tmp_path / "whole"):
        terms = line["loss/l1"], line["loss/mse"], line["loss/adversarial"]
        total = terms[0] + 0.5 * terms[1] + 0.1 * terms[2]
        assert line["loss"] == pytest.approx(total, rel=1e-9)
        assert line["loss/adversarial/own"] > 0


def test_a_plain_run_logs_its_one_term(learnable, tmp_path):
    assert train(config(learnable, steps=5, valid=None), tmp_path)
    (line,) = metrics(tmp_path)
    assert line["loss/l1"] == line["loss"]


# Resuming


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_resumed_run_is_the_whole_run(learnable, tmp_path, name):
    loss = small_loss(name, tmp_path).model_dump()
    settings = {"loss": [loss], "ema": 0.9, "accumulate": 2}
    assert train(with_losses(learnable, steps=4, **settings), tmp_path / "whole")
    assert train(with_losses(learnable, steps=2, **settings), tmp_path / "cut")
    assert train(with_losses(learnable, steps=4, **settings), tmp_path / "cut")
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    assert_same(losses_of(tmp_path / "whole"), losses_of(tmp_path / "cut"))


def test_frozen_weights_are_not_saved(learnable, tmp_path):
    loss = small_loss("vgg", tmp_path).model_dump()
    assert train(with_losses(learnable, [loss], steps=1), tmp_path / "run")
    assert losses_of(tmp_path / "run")["state"] == {}


def test_another_loss_is_refused_but_in_a_branch(learnable, tmp_path, caplog):
    caplog.set_level("INFO", "liif")
    assert train(with_losses(learnable, GAN, steps=2), tmp_path / "run")
    last = tmp_path / "run" / "last.pt"
    other = with_losses(learnable, [*GAN, {"name": "fft"}], steps=3)
    with pytest.raises(UserError, match=r"another configuration \(loss: .*--name NEW --resume"):
        train(other, tmp_path / "run")
    stop = iter([True])
    assert not train(other, tmp_path / "branch", resume=last, stopping=lambda: next(stop, False))
    assert any("branches off" in r.message and "fft" in r.message for r in caplog.records)
    begun, before = losses_of(tmp_path / "branch", "previous.pt"), losses_of(tmp_path / "run")
    assert_same(begun["state"], before["state"])  # the discriminator goes on
    assert begun["terms"] == [0.0] * 5
    assert all(r.levelname != "WARNING" for r in caplog.records)


def test_a_branch_may_begin_to_learn_a_loss(learnable, tmp_path, caplog):
    assert train(with_losses(learnable, GAN[:1], steps=2), tmp_path / "run")
    last = tmp_path / "run" / "last.pt"
    assert train(with_losses(learnable, GAN, steps=3), tmp_path / "branch", resume=last)
    wide = [GAN[0], {**GAN[1], "width": 6}]
    branch = tmp_path / "branch" / "last.pt"
    assert train(with_losses(learnable, wide, steps=4), tmp_path / "wide", resume=branch)
    (warning,) = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert warning == "loss: adversarial starts anew: its configuration has changed"
    assert (
        losses_of(tmp_path / "wide")["state"]["adversarial"]["optimizer"]["state"][0]["step"] == 1
    )


def test_checkpoints_without_losses_continue(learnable, tmp_path):
    """As version 0.2 wrote them."""
    assert train(config(learnable, steps=8, valid=None), tmp_path / "whole")
    stops = iter([False] * 2 + [True])
    chosen = config(learnable, steps=8, valid=None)
    assert not train(chosen, tmp_path / "cut", stopping=lambda: next(stops))
    content = torch.load(tmp_path / "cut" / "last.pt")
    del content["training"]["losses"], content["training"]["config"]["loss"]
    del content["training"]["config"]["train_data"]["layout"]
    torch.save(content, tmp_path / "cut" / "last.pt")
    assert train(config(learnable, steps=8, valid=None), tmp_path / "cut")
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    whole, cut = metrics(tmp_path / "whole"), metrics(tmp_path / "cut")
    assert [line["loss"] for line in whole] == [line["loss"] for line in cut]


def drop(losses):
    del losses["state"]["adversarial"]


def drop_all(losses):
    losses.clear()


def cut_weight(losses):
    found = losses["state"]["adversarial"]["weights"]
    found["discriminator.0.weight"] = found["discriminator.0.weight"][:2]


def lose_weight(losses):
    losses["state"]["adversarial"]["weights"].popitem()


def text_for_weight(losses):
    losses["state"]["adversarial"]["weights"]["discriminator.0.bias"] = "x"


def lose_memory(losses):
    losses["state"]["adversarial"]["optimizer"]["state"].popitem()


def cut_memory(losses):
    memory = losses["state"]["adversarial"]["optimizer"]["state"][0]
    memory["exp_avg"] = memory["exp_avg"][:1]


def lose_average(losses):
    for memory in losses["state"]["adversarial"]["optimizer"]["state"].values():
        del memory["exp_avg_sq"]


def lose_groups(losses):
    losses["state"]["adversarial"]["optimizer"]["param_groups"] = []


def lose_optimizer(losses):
    del losses["state"]["adversarial"]["optimizer"]


def wrong_terms(losses):
    losses["terms"] = [1.0]


@pytest.mark.parametrize(
    "damage",
    [
        drop, drop_all, cut_weight, lose_weight, text_for_weight, lose_memory, cut_memory,
        lose_average, lose_groups, lose_optimizer, wrong_terms,
    ],
)  # fmt: skip
def test_damaged_or_missing_state_is_one_line(gan_run, damage):
    run, settings = gan_run
    content = torch.load(run / "last.pt")
    damage(content["training"]["losses"])
    torch.save(content, run / "last.pt")
    with pytest.raises(UserError, match=r"last\.pt: the state of its run is damaged") as caught:
        train(settings, run)
    assert "\n" not in str(caught.value)


@pytest.fixture
def gan_run(learnable, tmp_path):
    assert train(with_losses(learnable, GAN, steps=2), tmp_path / "run")
    return tmp_path / "run", with_losses(learnable, GAN, steps=3)


# Failures


def own_state(losses):
    return [p.detach().clone() for p in losses.parameters()], losses.state()


@pytest.mark.parametrize("where", ["model", "discriminator"])
def test_nothing_is_updated_if_anything_is_not_finite(learnable, where):
    state = state_of(with_losses(learnable, GAN))
    _, _, batch = patches(16)
    before = own_state(state.losses)[0], [p.detach().clone() for p in state.model.parameters()]
    if where == "model":
        batch = batch._replace(lr=torch.full_like(batch.lr, torch.inf))
    else:
        with torch.no_grad():
            next(state.losses.parameters()).fill_(torch.nan)
            before[0][0].fill_(torch.nan)
    with pytest.raises(DivergedError, match=r"nan \(.*adversarial"):
        train_step(state.model, state.optimizer, batch, learning_rate=1e-3, losses=state.losses)
    now = state.losses.parameters(), state.model.parameters()
    for olds, news in zip(before, now, strict=True):
        for old, new in zip(olds, news, strict=True):
            assert torch.equal(old.nan_to_num(7), new.nan_to_num(7))
    assert not any(each.state for each in state.losses.optimizers.values())


def test_a_gradient_of_the_discriminator_alone_stops_the_step(learnable):
    state = state_of(with_losses(learnable, GAN))
    _, _, batch = patches(16)
    weight = next(state.losses.parameters())
    weight.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(DivergedError, match=r"^loss \d.*, gradient norm (inf|nan)$"):
        train_step(state.model, state.optimizer, batch, learning_rate=1e-3, losses=state.losses)
    assert not state.optimizer.state


@pytest.mark.parametrize("failing", [1, 9, 40])
def test_a_first_step_without_memory_can_be_repeated(learnable, tmp_path, monkeypatch, failing):
    """Memory runs out while an optimizer allocates what it remembers: the model's first."""
    chosen = with_losses(learnable, GAN, steps=2)
    zeros_like, calls = torch.zeros_like, []

    def limited(*args, **options):
        calls.append(args)
        if len(calls) == failing:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return zeros_like(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "zeros_like", limited)
        with pytest.raises(UserError, match="step 1: out of") as caught:
            train(chosen, tmp_path / "run")
    is_half = "They are not saved" in str(caught.value)
    assert is_half == (failing == 40) and (tmp_path / "run" / "last.pt").exists() != is_half
    assert train(chosen, tmp_path / "run")
    assert train(chosen, tmp_path / "whole")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    assert_same(losses_of(tmp_path / "run")["state"], losses_of(tmp_path / "whole")["state"])


def test_a_discriminator_without_memory_is_half_an_update(learnable):
    state = state_of(with_losses(learnable, GAN))
    _, _, batch = patches(16)

    def overflow():
        raise torch.OutOfMemoryError("CUDA out of memory")

    state.losses.optimizers["adversarial"].step = overflow
    with pytest.raises(HalfUpdatedError):
        train_step(state.model, state.optimizer, batch, learning_rate=1e-3, losses=state.losses)


# Shares of a batch


@pytest.mark.parametrize("parts", [2, 3])
def test_accumulated_gradients_are_those_of_the_whole_batch(learnable, parts):
    _, _, batch = patches(16, samples=5)
    found = []
    for accumulate in (1, parts):
        state = state_of(with_losses(learnable, GAN))
        result = train_step(
            state.model, state.optimizer, batch,
            learning_rate=0.0, losses=state.losses, accumulate=accumulate,
        )  # fmt: skip
        gradients = [p.grad for m in (state.model, state.losses) for p in m.parameters()]
        found.append((gradients, result.terms))
    for a, b in zip(found[0][0], found[1][0], strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-4)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


class Echo(Team):
    """Two processes with the same samples."""

    def sum(self, values):
        return values.mul_(2)


def test_gradients_of_own_parameters_are_averaged_over_processes(learnable):
    _, _, batch = patches(16, samples=2)
    found = []
    for team in (Team(), Echo(0, 2)):
        state = state_of(with_losses(learnable, GAN))
        result = train_step(
            state.model, state.optimizer, batch,
            learning_rate=0.0, losses=state.losses, team=team, batch_size=2 * team.size,
        )  # fmt: skip
        found.append(([p.grad for p in state.losses.parameters()], result.terms))
    for a, b in zip(found[0][0], found[1][0], strict=True):
        torch.testing.assert_close(a, b)
    assert found[0][1] == pytest.approx(found[1][1])


def test_its_learning_rate_follows_the_models(learnable):
    loss = [GAN[0], {**GAN[1], "rate": 0.25}]
    state = state_of(with_losses(learnable, loss))
    _, _, batch = patches(16)
    train_step(state.model, state.optimizer, batch, learning_rate=8e-3, losses=state.losses)
    (group,) = state.losses.optimizers["adversarial"].param_groups
    assert group["lr"] == 2e-3


def test_losses_begin_alike_for_one_seed(learnable):
    first, again = (state_of(with_losses(learnable, GAN, seed=3)).losses for _ in range(2))
    other = state_of(with_losses(learnable, GAN, seed=4)).losses
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))
