"""Which validation is the best, by PSNR, SSIM or LPIPS; early stop; LPIPS in the log."""

import json
import sys

import pytest
import torch
from helpers.training import assert_same_weights, config, metrics
from pydantic import ValidationError

import liif.training.validation
from liif.core.errors import UserError
from liif.evaluation.evaluate import evaluate
from liif.models.checkpoint import read_checkpoint
from liif.training.train import train
from liif.training.validation import Validation


def lpips(device, option):
    return lambda sr, hr, protocol: (sr - hr).abs().mean().item()


@pytest.fixture
def with_lpips(monkeypatch):
    monkeypatch.setattr(liif.training.validation, "lpips_score", lpips)


@pytest.fixture
def scripted(monkeypatch, with_lpips):
    """PSNR is the highest in the second validation, SSIM in the first, LPIPS the lowest in the
    third."""
    calls = []

    def found(*arguments, **options):
        number = len(calls)
        calls.append(number)
        values = {"psnr": [1, 3, 2], "ssim": [0.3, 0.1, 0.2], "lpips": [0.3, 0.2, 0.1]}
        for score in evaluate(*arguments, **options):
            has = {key: score._asdict()[key] is not None for key in values}
            yield score._replace(**{k: v[number] for k, v in values.items() if has[k]})

    monkeypatch.setattr(liif.training.validation, "evaluate", found)


def valid(photos, **changes):
    return {"images": str(photos), "scales": [2], "crop": 48, "limit": 2, "every": 1, **changes}


@pytest.mark.parametrize(
    ("best", "step", "score"), [("psnr", 2, 3), ("ssim", 1, 0.3), ("lpips", 3, -0.1)]
)
def test_the_best_by_each_metric(scripted, learnable, tmp_path, caplog, best, step, score):
    caplog.set_level("INFO", "liif")
    assert train(config(learnable, steps=3, valid=valid(learnable, best=best)), tmp_path)
    found = read_checkpoint(tmp_path / "best.pt").training
    assert found["step"] == step and found["best"] == pytest.approx(score)
    lines = [line for line in metrics(tmp_path) if line["kind"] == "valid"]
    assert all(f"mean_{best}" in line and "mean_psnr" in line for line in lines)
    assert ("mean_lpips" in lines[0]) == (best == "lpips")
    text = caplog.text
    assert ("mean SSIM 0.3" in text) == (best == "ssim")
    assert ("mean LPIPS 0.1" in text) == (best == "lpips")


def test_lpips_is_scored_and_another_metric_decides(with_lpips, learnable, tmp_path):
    chosen = config(
        learnable, steps=2, valid=valid(learnable, lpips=True, scales=[2, 3], protocol="none")
    )
    assert train(chosen, tmp_path / "a")
    (first, second) = [line for line in metrics(tmp_path / "a") if line["kind"] == "valid"]
    assert first["lpips"].keys() == {"x2", "x3"}
    assert second["mean_lpips"] == pytest.approx(sum(second["lpips"].values()) / 2)
    assert read_checkpoint(tmp_path / "a" / "best.pt").training["best"] > 1  # dB
    plain = config(learnable, steps=2, valid=valid(learnable, scales=[2, 3], protocol="none"))
    assert train(plain, tmp_path / "b")
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_what_lpips_needs_is_checked_before_step_1(learnable, tmp_path, monkeypatch):
    def never(*args, **options):
        pytest.fail("a step was taken")

    monkeypatch.setattr(liif.training.train, "train_step", never)
    missing = config(learnable, valid=valid(learnable, best="lpips"))
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(UserError, match=r"valid\.best: lpips needs .*pip install") as error:
        train(missing, tmp_path / "run")
    assert "\n" not in str(error.value)
    monkeypatch.setattr(liif.training.validation, "lpips_score", lpips)
    small = config(learnable, valid=valid(learnable, lpips=True, crop=46))  # a border of 8
    with pytest.raises(UserError, match=r"valid\.images: .*LPIPS needs 31×31 px.*raise valid"):
        train(small, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def scores(monkeypatch):
    """Scores by step, in place of the model's: the best is at step 16, until step 40."""
    by_step = {8: 1.0, 16: 3.0, 24: 2.0, 32: 3.0, 40: 5.0, 44: 1.0}
    monkeypatch.setattr(Validation, "run", lambda self, model, record, step, *rest: by_step[step])


def test_it_stops_after_the_last_validation_that_patience_allows(scores, learnable, tmp_path):
    stops = config(learnable, steps=44, valid=valid(learnable, every=8, patience=2))
    assert train(stops, tmp_path / "run")
    state = read_checkpoint(tmp_path / "run" / "last.pt").training
    assert (state["step"], state["stale"], state["best"]) == (32, 2, 3)
    assert read_checkpoint(tmp_path / "run" / "best.pt").training["step"] == 16
    assert train(config(learnable, steps=32), tmp_path / "plain")
    assert_same_weights(tmp_path / "run", tmp_path / "plain")
    assert (tmp_path / "run" / "last.safetensors").exists()
    assert metrics(tmp_path / "run")[-1] == {"kind": "early_stop", "step": 32, "validations": 2}


def test_a_stopped_run_stays_so_and_goes_on_with_more_patience(scores, learnable, tmp_path, cli):
    stops = config(learnable, steps=44, valid=valid(learnable, every=8, patience=2))
    for cut in (17, 25, 44):
        calls = iter([False] * cut + [True] * 10)
        train(stops, tmp_path / "runs" / "a", stopping=lambda calls=calls: next(calls))
    before = (tmp_path / "runs" / "a" / "metrics.jsonl").read_text()
    assert train(stops, tmp_path / "runs" / "a")
    assert (tmp_path / "runs" / "a" / "metrics.jsonl").read_text() == before
    assert json.loads(before.splitlines()[-1])["kind"] == "early_stop"
    assert "finished" in cli("runs", tmp_path / "runs")[1]
    patient = config(learnable, steps=44, valid=valid(learnable, every=8, patience=3))
    assert train(patient, tmp_path / "runs" / "a")
    assert train(config(learnable, steps=44), tmp_path / "plain")
    assert_same_weights(tmp_path / "runs" / "a", tmp_path / "plain")
    state = read_checkpoint(tmp_path / "runs" / "a" / "last.pt").training
    assert (state["step"], state["stale"], state["best"]) == (44, 1, 5)


def test_a_checkpoint_of_an_older_version_has_no_patience_yet(scores, learnable, tmp_path):
    stops = config(learnable, steps=44, valid=valid(learnable, every=8, patience=2))
    assert train(stops.model_copy(update={"steps": 24}), tmp_path)
    content = torch.load(tmp_path / "last.pt")
    assert content["training"].pop("stale") == 1
    torch.save(content, tmp_path / "last.pt")
    assert train(stops, tmp_path)
    assert read_checkpoint(tmp_path / "last.pt").training["step"] == 44


@pytest.mark.parametrize("changes", [{"best": "mse"}, {"patience": 0}, {"lpips": 1.5}])
def test_values_without_a_meaning(learnable, changes):
    with pytest.raises(ValidationError):
        config(learnable, valid=valid(learnable, **changes))
