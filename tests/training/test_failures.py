"""What goes wrong in a training is told, and nothing is lost."""

import faulthandler
import json
import os
import shutil
import signal
import time
import weakref

import pytest
import torch
from helpers.training import CPU, OPTIMIZERS, assert_same_weights, config, state_of

import liif.training.loop
import liif.training.state
import liif.training.step
import liif.training.train
from liif.core.errors import UserError
from liif.data.loader import Batch, batches, image_of
from liif.models.checkpoint import read_checkpoint
from liif.training.step import train_step
from liif.training.train import train
from liif.training.validation import Validation


def test_a_loss_that_is_not_finite_stops_before_the_update(learnable, tmp_path):
    run = tmp_path / "run"
    train(config(learnable, steps=9), run)
    state = state_of(config(learnable), CPU)
    batch = Batch(
        torch.full((1, 3, 8, 8), torch.inf),
        torch.zeros(1, 4, 2),
        torch.ones(1, 2),
        torch.zeros(1, 4, 3),
    )
    before = {k: v.clone() for k, v in state.model.state_dict().items()}
    with pytest.raises(liif.training.step.DivergedError):
        train_step(state.model, state.optimizer, batch, learning_rate=1e-3)
    for key, value in state.model.state_dict().items():
        assert torch.equal(value, before[key])
    with pytest.raises(UserError, match=r"step \d+: .*not finite.*is saved.*lower learning_rate"):
        train(config(learnable, learning_rate=1e30, milestones=[]), tmp_path / "hot")


def test_a_broken_file_loses_nothing(learnable, tmp_path):
    folder = shutil.copytree(learnable, tmp_path / "photos")
    data = {"sampling": "random-scale", "images": str(folder), "cache": "none"}
    data |= {"patch": 12, "queries": 100}
    settings = config(folder, train_data=data, valid=None)
    assert train(settings, tmp_path / "whole")
    whole = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(whole[:200])  # its header is good: found when it is decoded
    with pytest.raises(UserError, match=r"step \d: .*3\.png(.|\n)*The run is saved"):
        train(settings, tmp_path / "cut")
    (folder / "3.png").write_bytes(whole)
    assert train(settings, tmp_path / "cut")
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")


def test_a_step_that_is_not_finite_names_its_samples(learnable, tmp_path, monkeypatch):
    def diverge(*args, **options):
        raise liif.training.step.DivergedError("loss nan, gradient norm nan")

    settings = config(learnable, steps=8, valid=None)
    assert train(config(learnable, steps=4, valid=None), tmp_path)
    monkeypatch.setattr(liif.training.train, "train_step", diverge)
    with pytest.raises(UserError, match=r"step 5: .*diverged\.json, and the same command repeats"):
        train(settings, tmp_path)
    told = json.loads((tmp_path / "diverged.json").read_text())
    assert told["step"] == 5 and [s["sample"] for s in told["samples"]] == [12, 13, 14]
    source = settings.train_data.open_source(None)
    for each in told["samples"]:
        index = image_of(source, settings.seed, each["sample"])
        assert each["image"] == source.store.names[index]
    assert read_checkpoint(tmp_path / "last.pt").training["step"] == 4


def test_a_gpu_without_memory_says_what_to_lower(learnable, tmp_path, monkeypatch):
    def overflow(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(liif.training.train, "train_step", overflow)
    with pytest.raises(UserError, match=r"step 1: out of GPU memory.*accumulate.*batch_size"):
        train(config(learnable), tmp_path)


def test_a_step_without_memory_leaves_no_tensors(learnable, tmp_path, monkeypatch):
    """A notebook keeps the last error, and with it the frames that it passed."""
    activations = []

    def overflow(*args, **options):
        tensor = torch.zeros(1)
        activations.append(weakref.ref(tensor))
        raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")

    monkeypatch.setattr(liif.training.train, "train_step", overflow)
    with pytest.raises(UserError, match="out of GPU memory") as kept:
        train(config(learnable, valid=None), tmp_path)
    assert kept.value.__context__ is not None and activations[0]() is None


def test_a_validation_without_memory_leaves_no_tensors(learnable, tmp_path, monkeypatch):
    images = []

    def overflow(self, *args, **options):
        tensor = torch.zeros(1)
        images.append(weakref.ref(tensor))
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")

    monkeypatch.setattr(Validation, "run", overflow)
    with pytest.raises(UserError, match=r"validation of step 8: .*lower valid\.crop") as kept:
        train(config(learnable), tmp_path)
    assert kept.value.__context__ is not None and images[0]() is None


@pytest.mark.timeout(60)
def test_a_worker_that_is_killed_is_told_with_its_file(learnable):
    class Deadly:
        def __len__(self):
            return 3

        def name(self, index):
            return f"picture-{index}.png"

        def sample(self, index, rng):
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(UserError, match=r"(killed|exited).* reading: picture-\d\.png\. Out of"):
        list(batches(Deadly(), seed=0, batch_size=2, start=0, stop=9, workers=1))


def test_a_step_that_hangs_shows_where(learnable, tmp_path, capfd, monkeypatch):
    step = liif.training.train.train_step

    def slow(*args, **options):
        time.sleep(0.6)
        return step(*args, **options)

    monkeypatch.setattr(liif.training.train, "train_step", slow)
    assert train(config(learnable, steps=2, valid=None, stall_minutes=0.005), tmp_path)
    assert "in slow" in capfd.readouterr().err


def test_the_watchdog_is_not_set_at_every_step(learnable, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda *a, **k: calls.append(a))
    assert train(config(learnable, steps=24, valid=None, stall_minutes=30), tmp_path)
    assert len(calls) == 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("failing", range(1, 12, 3))
def test_a_first_step_without_memory_can_be_repeated(
    learnable, tmp_path, monkeypatch, optimizer, failing
):
    """Memory runs out while the optimizer allocates what it remembers of the weights."""
    chosen = config(learnable, steps=2, valid=None, optimizer=optimizer)
    zeros_like, calls = torch.zeros_like, []

    def limited(*args, **options):
        calls.append(args)
        if len(calls) == failing:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return zeros_like(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "zeros_like", limited)
        with pytest.raises(UserError, match=r"step 1: out of GPU memory.*is saved"):
            train(chosen, tmp_path / "run")
    assert train(chosen, tmp_path / "run")
    assert train(chosen, tmp_path / "whole")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


def test_a_step_without_memory_on_a_cpu_is_saved_unless_it_is_half_done(
    learnable, tmp_path, monkeypatch
):
    class Full(torch.optim.Adam):
        def step(self, closure=None):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    def forward(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    run = tmp_path / "run"
    assert train(config(learnable, steps=3, valid=None), run)
    longer = config(learnable, steps=5, valid=None, save_every=100)
    with monkeypatch.context() as patch:
        patch.setattr(liif.training.train, "train_step", forward)
        with pytest.raises(UserError, match=r"step 4: out of memory.*is saved"):
            train(longer, run)
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim, "Adam", Full)
        with pytest.raises(UserError, match=r"step 4: .*They are not saved"):
            train(longer, run)
    assert train(longer, run)
