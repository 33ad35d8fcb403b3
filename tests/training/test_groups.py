"""AdamW, betas, weight decay, and groups of parameters: other rates, frozen layers."""

import pytest
import torch
from helpers.models import TINY
from helpers.small_models import every_model, small
from helpers.training import assert_same_weights, config, state_of, weights
from pydantic import ValidationError

from liif.core.errors import UserError
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import read_checkpoint
from liif.training.optimizers import Muon, ParameterGroup, group_parameters, make_optimizer
from liif.training.train import train


def tiny():
    return build_model(ModelConfig.model_validate(TINY))


def after_steps(model, optimizer, steps=3):
    """The weights after a few updates by the same gradients."""
    for n in range(steps):
        for i, p in enumerate(model.parameters()):
            if p.requires_grad:
                p.grad = torch.randn(p.shape, generator=torch.manual_seed(100 * n + i))
        optimizer.step()
    return dict(model.named_parameters())


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW")])
def test_betas_and_weight_decay_are_pytorchs(name, kind):
    options = {"betas": (0.8, 0.95), "weight_decay": 0.1}
    ours, theirs, plain = tiny(), tiny(), tiny()
    after_steps(ours, make_optimizer(ours, name, 1e-2, **options))
    after_steps(theirs, getattr(torch.optim, kind)(theirs.parameters(), lr=1e-2, **options))
    after_steps(plain, make_optimizer(plain, name, 1e-2))
    for a, b, c in zip(*(m.parameters() for m in (ours, theirs, plain)), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)


def test_the_defaults_are_adams_own():
    ours, theirs = tiny(), tiny()
    after_steps(ours, make_optimizer(ours, "adam", 1e-3))
    after_steps(theirs, torch.optim.Adam(theirs.parameters(), lr=1e-3))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


@every_model
def test_muon_shrinks_weights_as_adamw_does(encoder, decoder):
    """One step from the same gradients: the difference is rate × decay × weight."""
    plain, decayed = small(encoder, decoder), small(encoder, decoder)
    before = {name: p.clone() for name, p in plain.named_parameters()}
    a = after_steps(plain, make_optimizer(plain, "muon", 1e-2), 1)
    b = after_steps(decayed, make_optimizer(decayed, "muon", 1e-2, weight_decay=0.5), 1)
    for name, start in before.items():
        torch.testing.assert_close(a[name] - b[name], 0.005 * start, atol=1e-7, rtol=1e-3)


def test_every_group_has_its_parameters_rate_and_decay():
    model = tiny()
    groups = [
        ParameterGroup(match="*.bias", weight_decay=0),
        ParameterGroup(match="encoder.*", learning_rate_factor=0.1),
    ]
    parts = group_parameters(model, groups, 0.01)
    assert [(part["factor"], part["weight_decay"]) for part in parts] == [
        (1, 0.01), (1, 0), (0.1, 0.01),
    ]  # fmt: skip
    names = {id(p): name for name, p in model.named_parameters()}
    rest, biases, encoder = ({names[id(p)] for p in part["params"]} for part in parts)
    assert rest | biases | encoder == set(names.values())
    assert all(name.endswith(".bias") for name in biases)
    assert all(n.startswith("decoder.") for n in rest) and all("encoder." in n for n in encoder)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_a_group_moves_at_its_own_rate(learnable, tmp_path, optimizer):
    groups = [{"match": "encoder.*", "learning_rate_factor": 1e-3}]
    chosen = config(learnable, steps=2, valid=None, optimizer=optimizer, groups=groups)
    start = state_of(chosen).model.state_dict()
    assert train(chosen, tmp_path)
    moved = {key: (value - start[key]).abs().max() for key, value in weights(tmp_path).items()}
    assert all((step < 1e-5) == key.startswith("encoder.") for key, step in moved.items())
    assert all(step > 0 for step in moved.values())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_frozen_layers_do_not_change(learnable, tmp_path, optimizer):
    groups = [{"match": "encoder.*", "freeze": True}, {"match": "*.bias", "weight_decay": 0}]
    chosen = config(
        learnable,
        steps=3,
        valid=None,
        optimizer=optimizer,
        groups=groups,
        weight_decay=0.1,
        ema=0.9,
    )
    start = state_of(chosen).model.state_dict()
    assert train(chosen, tmp_path)
    for key, value in weights(tmp_path).items():
        assert torch.equal(value, start[key]) == key.startswith("encoder."), key


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_with_groups_resumes_exactly(learnable, tmp_path, optimizer):
    groups = [
        {"match": "encoder.head.*", "freeze": True},
        {"match": "encoder.*", "learning_rate_factor": 0.1, "weight_decay": 0},
    ]
    chosen = config(
        learnable, optimizer=optimizer, groups=groups, weight_decay=0.05, betas=[0.8, 0.95]
    )
    assert train(chosen, tmp_path / "whole")
    assert train(chosen.model_copy(update={"steps": 13}), tmp_path / "parts")
    assert train(chosen, tmp_path / "parts")
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    a, b = (read_checkpoint(tmp_path / n / "last.pt").training for n in ("whole", "parts"))
    assert str(a["optimizer"]) == str(b["optimizer"])


def test_a_resumed_run_keeps_its_groups(learnable, tmp_path):
    assert train(config(learnable, steps=2, valid=None), tmp_path / "run")
    frozen = config(learnable, valid=None, groups=[{"match": "encoder.*", "freeze": True}])
    with pytest.raises(UserError, match=r"another configuration \(groups: \[\] -> "):
        train(frozen, tmp_path / "run")
    with pytest.raises(UserError, match=r"a branch keeps model and optimizer \(groups: "):
        train(frozen, tmp_path / "branch", resume=tmp_path / "run" / "last.pt")
    decayed = config(learnable, steps=3, valid=None, weight_decay=0.1, betas=[0.5, 0.9])
    assert train(decayed, tmp_path / "branch", resume=tmp_path / "run" / "last.pt")
    saved = read_checkpoint(tmp_path / "branch" / "last.pt").training["optimizer"]
    assert saved["param_groups"][0]["weight_decay"] == 0.1
    assert tuple(saved["param_groups"][0]["betas"]) == (0.5, 0.9)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (["encodr.*"], r"groups\.0\.match: no parameter is named 'encodr\.\*'; .*encoder\.\*"),
        (["*.bias", "encoder.head.0.weigth"], r"groups\.1\.match: .*encoder\.head\.0\.weight"),
        (["zzz"], r"no parameter is named 'zzz'; the first name is encoder\.head"),
        ([""], r"no parameter is named ''"),
        (["encoder.*", "encoder.head.*"], r"groups\.1\.match: .* belong to earlier groups"),
    ],
)
def test_patterns_that_take_nothing(groups, said):
    with pytest.raises(UserError, match=said) as error:
        group_parameters(tiny(), [ParameterGroup(match=each) for each in groups], 0)
    assert "\n" not in str(error.value)


def test_something_must_be_left_to_train():
    with pytest.raises(UserError, match="groups: freeze all parameters"):
        make_optimizer(tiny(), "adam", 1e-3, groups=[ParameterGroup(match="*", freeze=True)])
    model = tiny()
    everything = [ParameterGroup(match="*", learning_rate_factor=0.5)]
    assert len(group_parameters(model, everything, 0)) == 1
    assert len(Muon(model, 1e-3).param_groups) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"betas": [0.9, 1]},
        {"betas": [0.9]},
        {"weight_decay": -1},
        {"optimizer": "sgd"},
        {"groups": [{"match": "*", "freeze": True, "weight_decay": 0}]},
        {"groups": [{"match": "*", "learning_rate_factor": 0}]},
        {"groups": [{"learning_rate_factor": 1}]},
    ],
)
def test_values_without_a_meaning(learnable, changes):
    with pytest.raises(ValidationError):
        config(learnable, **changes)
