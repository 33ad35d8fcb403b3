"""Weights & Biases beside TensorBoard, with a stand-in for the package."""

import sys
import types

import pytest
from helpers.training import assert_same_weights, config, metrics
from pydantic import ValidationError

from liif.core.errors import UserError
from liif.training.train import train


class Run:
    def __init__(self, **options):
        self.options, self.logged, self.metrics, self.finished = options, [], [], 0

    def define_metric(self, *names, **options):
        self.metrics.append((names, options))

    def log(self, values):
        assert not self.finished
        self.logged.append(values)

    def finish(self):
        self.finished += 1


@pytest.fixture
def runs(monkeypatch):
    """The runs that the stand-in was asked for."""
    runs = []

    def init(**options):
        runs.append(Run(**options))
        return runs[-1]

    package = types.SimpleNamespace(
        init=init, Image=lambda image: ("image", image.shape), Settings=dict
    )
    monkeypatch.setitem(sys.modules, "wandb", package)
    return runs


def test_everything_of_tensorboard_is_there_too(runs, learnable, tmp_path):
    chosen = config(learnable, steps=16, wandb={"project": "p"})
    assert train(chosen, tmp_path / "run")
    (run,) = runs
    assert run.options["project"] == "p" and run.options["mode"] == "offline"
    assert run.options["name"] == "run" and run.options["dir"] == str(tmp_path / "run")
    assert run.options["config"]["batch_size"] == 3
    assert run.metrics == [(("*",), {"step_metric": "step"})]
    losses = {v["step"]: v["train/loss"] for v in run.logged if "train/loss" in v}
    lines = [line for line in metrics(tmp_path / "run") if line["kind"] == "train"]
    assert losses == {line["step"]: line["loss"] for line in lines}
    assert [v["step"] for v in run.logged if "valid/mean_psnr" in v] == [8, 16]
    pictures = [v for v in run.logged if "LR | bicubic | ours | HR" in v]
    assert [v["step"] for v in pictures] == [8, 16] and run.finished == 1
    assert train(config(learnable, steps=16), tmp_path / "plain")
    assert_same_weights(tmp_path / "run", tmp_path / "plain")


def test_a_resumed_run_goes_on_under_its_id(runs, learnable, tmp_path):
    for steps in (4, 8):
        assert train(config(learnable, steps=steps, wandb={}, valid=None), tmp_path / "a")
    assert train(config(learnable, steps=4, wandb={}, valid=None), tmp_path / "b")
    first, second, other = (run.options for run in runs)
    assert first["id"] == second["id"] != other["id"] and second["resume"] == "allow"
    assert train(config(learnable, steps=9, valid=None), tmp_path / "a")  # it may be switched off
    assert len(runs) == 3


@pytest.mark.parametrize("dry_run", [False, True])
def test_it_must_be_installed_before_anything_is_done(learnable, tmp_path, monkeypatch, dry_run):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r'^wandb: needs .*pip install "liif\[wandb\]"') as error:
        train(config(learnable, wandb={}), tmp_path / "run", dry_run=dry_run)
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_an_account_that_is_missing_is_explained(runs, learnable, tmp_path, monkeypatch):
    def init(**options):
        raise RuntimeError("No API key\nconfigured.")

    monkeypatch.setattr(sys.modules["wandb"], "init", init)
    with pytest.raises(UserError, match=r"^wandb: No API key configured; `wandb login`") as error:
        train(config(learnable, wandb={"mode": "online"}), tmp_path / "run")
    assert "\n" not in str(error.value) and not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize("wandb", [{"mode": "maybe"}, {"projct": "x"}, True])
def test_values_without_a_meaning(learnable, wandb):
    with pytest.raises(ValidationError):
        config(learnable, wandb=wandb)
