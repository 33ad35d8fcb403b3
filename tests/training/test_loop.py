"""The training loop: it learns, leaves its records, goes on exactly, and keeps runs apart."""

import numpy as np
import pytest
import torch
from helpers.training import CPU, assert_same_weights, config, metrics, state_of, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import liif.training.loop
from liif.core.errors import UserError
from liif.models.checkpoint import read_checkpoint
from liif.training.train import train


def test_it_learns_and_leaves_its_records(learnable, tmp_path):
    run = tmp_path / "run"
    assert train(config(learnable, steps=120, milestones=[100]), run)
    files = {path.name for path in run.iterdir()}
    assert files >= {"config.yaml", "metrics.jsonl", "last.pt", "best.pt", "last.safetensors"}
    lines = metrics(run)
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert np.mean(losses[-3:]) < 0.7 * losses[0]
    valid = [line for line in lines if line["kind"] == "valid"]
    assert [line["step"] for line in valid] == [*range(8, 121, 8)]
    assert valid[-1]["mean_psnr"] == valid[-1]["psnr"]["x2"] > valid[0]["mean_psnr"]
    best = read_checkpoint(run / "best.pt").training
    assert best["best"] == max(line["mean_psnr"] for line in valid)
    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    board.Reload()
    assert [s.step for s in board.Scalars("train/loss")] == [*range(5, 121, 5)]
    assert board.Scalars("train/learning_rate")[-1].value == pytest.approx(5e-4)
    assert {"valid/psnr/x2", "valid/bicubic/x2"} <= set(board.Tags()["scalars"])
    assert len(board.Images("LR | bicubic | ours | HR")) == 15


def test_halves_and_workers_make_the_same_weights(learnable, tmp_path):
    whole = config(learnable)
    assert train(whole, tmp_path / "whole")
    assert train(config(learnable, workers=3), tmp_path / "workers")
    assert_same_weights(tmp_path / "whole", tmp_path / "workers")
    for cut in (1, 8, 13):
        run = tmp_path / f"cut{cut}"
        assert train(config(learnable, steps=cut), run)
        assert train(whole, run)
        assert_same_weights(tmp_path / "whole", run)
        whole_state = read_checkpoint(tmp_path / "whole" / "last.pt").training
        state = read_checkpoint(run / "last.pt").training
        for key in ("step", "best", "window"):
            assert state[key] == whole_state[key], key


def test_a_finished_run_is_left_as_it_is(learnable, tmp_path):
    run = tmp_path / "run"
    assert train(config(learnable), run)
    before = weights(run)
    assert train(config(learnable), run)
    for key, value in weights(run).items():
        assert torch.equal(value, before[key])


def test_another_configuration_is_another_run(learnable, tmp_path):
    run = tmp_path / "run"
    assert train(config(learnable), run)
    with pytest.raises(UserError, match=r"batch_size: 3 -> 4.*another --name"):
        train(config(learnable, batch_size=4), run)
    moved = {**config(learnable).train_data.model_dump(), "cache": "none"}
    assert train(config(learnable, train_data=moved, workers=1, steps=25), run)
    with pytest.raises(UserError, match="not overwritten"):
        train(config(learnable), run, resume="never")


def test_a_run_from_before_a_key_was_there_goes_on(learnable, tmp_path):
    chosen = config(learnable, steps=2)
    train(chosen, tmp_path)
    content = torch.load(tmp_path / "last.pt")
    del content["training"]["config"]["schedule"], content["training"]["config"]["warm_up"]
    torch.save(content, tmp_path / "last.pt")
    assert train(chosen.model_copy(update={"steps": 4}), tmp_path)
    with pytest.raises(UserError, match="warm_up: 0 -> 3"):
        train(chosen.model_copy(update={"steps": 6, "warm_up": 3}), tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("step", "abc"), ("step", True), ("best", None), ("window", [1.0]), ("window", [1.0, "", 0])],
)
def test_counters_that_are_no_numbers(learnable, tmp_path, key, value):
    chosen = config(learnable, steps=2)
    train(chosen, tmp_path)
    content = torch.load(tmp_path / "last.pt")
    content["training"][key] = value
    torch.save(content, tmp_path / "last.pt")
    for other in ("previous.pt", "best.pt"):
        (tmp_path / other).unlink(missing_ok=True)
    with pytest.raises(UserError, match="the state of its run is damaged"):
        train(chosen, tmp_path)


def test_deterministic_is_for_the_run_alone(learnable, tmp_path):
    seen = []

    def stopping():
        seen.append(torch.are_deterministic_algorithms_enabled())
        return False

    train(config(learnable, steps=2, deterministic=True), tmp_path / "a", stopping=stopping)
    train(config(learnable, steps=2), tmp_path / "b", stopping=stopping)
    half = len(seen) // 2
    assert all(seen[:half]) and not any(seen[half:])
    assert not torch.are_deterministic_algorithms_enabled()
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_weights_alone_are_a_start_but_no_run(learnable, tmp_path):
    assert train(config(learnable), tmp_path / "a")
    file = tmp_path / "a" / "last.safetensors"
    with pytest.raises(UserError, match="--set init="):
        train(config(learnable), tmp_path / "b", resume=file)
    settings = config(learnable, init=str(file))
    state = state_of(settings, CPU)
    for key, value in state.model.state_dict().items():
        assert torch.equal(value, weights(tmp_path / "a")[key])
    other = {"encoder": {"name": "edsr-baseline", "blocks": 2, "width": 8}}
    other["decoder"] = {"name": "liif", "hidden": [16]}
    with pytest.raises(UserError, match="does not fit"):
        state_of(config(learnable, init=str(file), model=other), CPU)


def test_ema_is_what_is_judged_and_used(learnable, tmp_path):
    settings = config(learnable, ema=0.5, steps=6)
    assert train(settings, tmp_path)
    checkpoint = read_checkpoint(tmp_path / "last.pt")
    raw = checkpoint.training["weights"]
    assert any(not torch.equal(raw[k], v) for k, v in checkpoint.weights.items())


def test_a_slow_run_says_how_it_goes(learnable, tmp_path, monkeypatch, caplog):
    """Between the lines that are due, and without changing what is recorded."""
    quiet, slow = tmp_path / "quiet", tmp_path / "slow"
    chosen = config(learnable, steps=4, log_every=3, valid=None)
    caplog.set_level("DEBUG")

    def said(run):
        caplog.clear()
        assert train(chosen, run)
        return [message.split(":")[0] for message in caplog.messages if "images/s" in message]

    assert said(quiet) == ["step 3/4", "step 4/4"]
    monkeypatch.setattr(liif.training.loop, "FIRST_WORD", 0)
    assert said(slow) == ["step 1/4", "step 3/4", "step 4/4"]
    assert all("left" in message for message in caplog.messages if "step " in message)
    lines = [[(line["step"], line["loss"]) for line in metrics(run)] for run in (quiet, slow)]
    assert lines[0] == lines[1]
