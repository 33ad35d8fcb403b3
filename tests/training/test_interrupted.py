"""Interrupted anywhere, a training goes on to the same end."""

import functools
import itertools
import os
import re
import signal
import sys
import time

import pytest
import torch
from helpers import processes
from helpers.training import assert_same_weights, config, metrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import liif.core.config_file
from liif.models.checkpoint import read_checkpoint
from liif.training.state import TrainingState
from liif.training.train import train


def test_stopping_anywhere_changes_nothing(learnable, tmp_path):
    """Stopped by request after every few calls, also within validation, and restarted."""
    settings = config(learnable, ema=0.9)
    assert train(settings, tmp_path / "whole")
    restarts = 0
    while True:
        calls = itertools.count()
        stopping = functools.partial(lambda calls: next(calls) >= 4, calls)
        if train(settings, tmp_path / "pieces", stopping=stopping):
            break
        restarts += 1
        assert restarts < 40
    assert restarts > 5
    assert_same_weights(tmp_path / "whole", tmp_path / "pieces")
    assert metrics(tmp_path / "pieces") == metrics(tmp_path / "whole")
    a, b = (read_checkpoint(tmp_path / n / "last.pt").training for n in ("whole", "pieces"))
    for key, value in a["weights"].items():
        assert torch.equal(value, b["weights"][key])
    assert a["averaged"] == b["averaged"] == 24
    assert str(a["optimizer"]) == str(b["optimizer"])


def test_lines_after_the_checkpoint_are_forgotten(learnable, tmp_path):
    run = tmp_path / "run"
    settings = config(learnable, keep_every=12)
    assert train(settings, run)
    expected = metrics(run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 30, "loss"')  # cut off by a crash
    assert train(settings, run, resume=run / "step-00000012.pt")
    assert metrics(run) == expected


@pytest.mark.parametrize("name", ["best.pt", "last.pt"])
def test_a_crash_after_validation_leaves_no_double_line(learnable, tmp_path, monkeypatch, name):
    """Killed after the validation of step 8, before or after best.pt is written."""
    settings = config(learnable, save_every=4)
    assert train(settings, tmp_path / "whole")

    def crash(self, path, *rest, save=TrainingState.save):
        if self.step == 8 and path.name == name and (name == "best.pt" or self.validated == 8):
            raise KeyboardInterrupt
        save(self, path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "save", crash)
        with pytest.raises(KeyboardInterrupt):
            train(settings, tmp_path / "crashed")
    assert read_checkpoint(tmp_path / "crashed" / "last.pt").training["step"] == 8
    assert train(settings, tmp_path / "crashed")
    assert metrics(tmp_path / "crashed") == metrics(tmp_path / "whole")
    assert scalars(tmp_path / "crashed") == scalars(tmp_path / "whole")
    assert_same_weights(tmp_path / "whole", tmp_path / "crashed")


def scalars(run):
    """What TensorBoard shows of a run, without what depends on the clock."""
    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    board.Reload()
    tags = set(board.Tags()["scalars"]) - {"train/images_per_s", "train/data_wait"}
    return {tag: [(s.step, s.value) for s in board.Scalars(tag)] for tag in tags}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_save_and_the_same_command_goes_on(learnable, tmp_path, number):
    file = tmp_path / "small.yaml"
    settings = config(learnable, steps=100_000, workers=2, save_every=100_000, valid=None)
    file.write_text(liif.core.config_file.dump_config(settings))
    command = [sys.executable, "-m", "liif", "train", "--config", str(file)]

    def start():
        return processes.Popen(command, cwd=tmp_path, stderr=processes.PIPE, start_new_session=True)

    def stop(process):
        log = tmp_path / "runs" / "small" / "metrics.jsonl"
        seen = log.read_text() if log.exists() else ""
        limit = time.monotonic() + 120
        while not (log.exists() and len(log.read_text()) > len(seen)):
            assert time.monotonic() < limit and process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, number)  # as a terminal does: workers get it too
        errors = process.communicate(timeout=60)[1]
        assert process.returncode == 128 + number, errors
        assert "Traceback" not in errors
        assert "to resume: " in errors
        return read_checkpoint(tmp_path / "runs" / "small" / "last.pt").training["step"], errors

    first, _ = stop(start())
    second, errors = stop(start())
    assert first >= 5
    assert re.search(rf"resumes at step {first}\b", errors)
    assert second > first
