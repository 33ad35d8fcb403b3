"""The training step against the official one; the loop: exact, resumable, interruptible."""

import functools
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import liif.configfile
import liif.state
import liif.step
import liif.train
from liif.checkpoint import load, read_checkpoint
from liif.config import TrainConfig
from liif.data.images import write_image
from liif.data.loader import Batch, batches, image_of
from liif.errors import UserError
from liif.state import State
from liif.step import learning_rate_at, train_step
from liif.train import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six small pictures with something to learn in them."""
    folder = tmp_path_factory.mktemp("photos")
    y, x = np.mgrid[0:64, 0:80]
    for i in range(6):
        waves = [np.sin(x / (2 + i + c)) * np.cos(y / (3 + c)) for c in range(3)]
        write_image(folder / f"{i}.png", (np.stack(waves, -1) * 100 + 128).astype(np.uint8))
    return folder


def config(photos, **changes):
    values = {
        "model": {
            "encoder": {"name": "edsr-baseline", "blocks": 1, "width": 8},
            "decoder": {"name": "liif", "hidden": [16]},
        },
        "train_data": {
            "sampling": "random-scale",
            "images": str(photos),
            "cache": "memory",
            "patch": 12,
            "queries": 100,
        },
        "valid": {"images": str(photos), "scales": [2], "crop": 48, "limit": 2, "every": 8},
        "steps": 24,
        "batch_size": 3,
        "learning_rate": 1e-3,
        "milestones": [10],
        "log_every": 5,
        "save_every": 7,
        "workers": 0,
        **changes,
    }
    return TrainConfig.model_validate(values)


def weights(folder):
    return read_checkpoint(folder / "last.pt").weights


def assert_same_weights(a, b):
    a, b = weights(a), weights(b)
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


def metrics(folder):
    """Lines of metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in ("images_per_s", "data_wait")} for line in lines
    ]


@pytest.fixture
def two_threads():
    """As the official steps were made: with other sums, one ReLU falls to the other side of zero
    (1.7e-4 in one layer's weights; exact arithmetic differs from the official file by as much)."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_twenty_official_steps(shared, two_threads):
    model = load(shared / "golden" / "liif-small-full.pth").train()
    data = np.load(shared / "golden" / "train-liif-small.npz")
    optimizer = torch.optim.Adam(model.parameters())
    for i, expected in enumerate(data["loss"]):
        batch = Batch(*(torch.from_numpy(data[key][i]) for key in ("inp", "coord", "cell", "gt")))
        rate = float(data["learning_rate"][i])
        loss, _ = train_step(model, optimizer, batch, learning_rate=rate)
        assert loss == pytest.approx(expected, rel=1e-4), i
    final = {key: value for key, value in data.items() if key.startswith("final/")}
    assert len(final) == 18
    for key, value in final.items():
        ours = key.removeprefix("final/").replace("imnet.", "decoder.mlp.")
        found = model.state_dict()[ours].numpy()
        assert np.linalg.norm(found - value) <= 1e-4 * np.linalg.norm(value), key


def test_the_learning_rate_is_the_published_one(photos):
    paper = config(photos, steps=1_000_000, learning_rate=1e-4, milestones=[200_000, 400_000])
    rates = [learning_rate_at(step, paper) for step in (0, 199_999, 200_000, 399_999, 400_000)]
    assert rates == [1e-4, 1e-4, 5e-5, 5e-5, 2.5e-5]


def test_warm_up_and_cosine(photos):
    chosen = config(photos, steps=1100, learning_rate=8e-4, warm_up=100, schedule="cosine")
    rates = [learning_rate_at(step, chosen) for step in range(chosen.steps)]
    assert rates[0] == pytest.approx(8e-6) and rates[49] == pytest.approx(4e-4)
    assert max(rates) == rates[99] == rates[100] == 8e-4
    assert rates[600] == pytest.approx(4e-4)  # half-way down
    assert all(a > b > 0 for a, b in itertools.pairwise(rates[100:])) and rates[-1] < 1e-8


def test_it_learns_and_leaves_its_records(photos, tmp_path):
    run = tmp_path / "run"
    assert train(config(photos, steps=120, milestones=[100]), run)
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


def test_halves_and_workers_make_the_same_weights(photos, tmp_path):
    whole = config(photos)
    assert train(whole, tmp_path / "whole")
    assert train(config(photos, workers=3), tmp_path / "workers")
    assert_same_weights(tmp_path / "whole", tmp_path / "workers")
    for cut in (1, 8, 13):
        run = tmp_path / f"cut{cut}"
        assert train(config(photos, steps=cut), run)
        assert train(whole, run)
        assert_same_weights(tmp_path / "whole", run)
        whole_state = read_checkpoint(tmp_path / "whole" / "last.pt").training
        state = read_checkpoint(run / "last.pt").training
        for key in ("step", "best", "window"):
            assert state[key] == whole_state[key], key


def test_stopping_anywhere_changes_nothing(photos, tmp_path):
    """Stopped by request after every few calls, also within validation, and restarted."""
    settings = config(photos, ema=0.9)
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


def test_lines_after_the_checkpoint_are_forgotten(photos, tmp_path):
    run = tmp_path / "run"
    settings = config(photos, keep_every=12)
    assert train(settings, run)
    expected = metrics(run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 30, "loss"')  # cut off by a crash
    assert train(settings, run, resume=run / "step-00000012.pt")
    assert metrics(run) == expected


def test_a_finished_run_is_left_as_it_is(photos, tmp_path):
    run = tmp_path / "run"
    assert train(config(photos), run)
    before = weights(run)
    assert train(config(photos), run)
    for key, value in weights(run).items():
        assert torch.equal(value, before[key])


def test_another_configuration_is_another_run(photos, tmp_path):
    run = tmp_path / "run"
    assert train(config(photos), run)
    with pytest.raises(UserError, match=r"batch_size: 3 -> 4.*another --name"):
        train(config(photos, batch_size=4), run)
    moved = {**config(photos).train_data.model_dump(), "cache": "none"}
    assert train(config(photos, train_data=moved, workers=1, steps=25), run)
    with pytest.raises(UserError, match="not overwritten"):
        train(config(photos), run, resume="never")


def test_a_run_from_before_a_key_was_there_goes_on(photos, tmp_path):
    chosen = config(photos, steps=2)
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
def test_counters_that_are_no_numbers(photos, tmp_path, key, value):
    chosen = config(photos, steps=2)
    train(chosen, tmp_path)
    content = torch.load(tmp_path / "last.pt")
    content["training"][key] = value
    torch.save(content, tmp_path / "last.pt")
    for other in ("previous.pt", "best.pt"):
        (tmp_path / other).unlink(missing_ok=True)
    with pytest.raises(UserError, match="the state of its run is damaged"):
        train(chosen, tmp_path)


def test_deterministic_is_for_the_run_alone(photos, tmp_path):
    seen = []

    def stopping():
        seen.append(torch.are_deterministic_algorithms_enabled())
        return False

    train(config(photos, steps=2, deterministic=True), tmp_path / "a", stopping=stopping)
    train(config(photos, steps=2), tmp_path / "b", stopping=stopping)
    half = len(seen) // 2
    assert all(seen[:half]) and not any(seen[half:])
    assert not torch.are_deterministic_algorithms_enabled()
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_weights_alone_are_a_start_but_no_run(photos, tmp_path):
    assert train(config(photos), tmp_path / "a")
    file = tmp_path / "a" / "last.safetensors"
    with pytest.raises(UserError, match="--set init="):
        train(config(photos), tmp_path / "b", resume=file)
    settings = config(photos, init=str(file))
    state = liif.state.new_state(settings, CPU)
    for key, value in state.model.state_dict().items():
        assert torch.equal(value, weights(tmp_path / "a")[key])
    other = {"encoder": {"name": "edsr-baseline", "blocks": 2, "width": 8}}
    other["decoder"] = {"name": "liif", "hidden": [16]}
    with pytest.raises(UserError, match="does not fit"):
        liif.state.new_state(config(photos, init=str(file), model=other), CPU)


def test_a_loss_that_is_not_finite_stops_before_the_update(photos, tmp_path):
    run = tmp_path / "run"
    train(config(photos, steps=9), run)
    state = liif.state.new_state(config(photos), CPU)
    batch = Batch(
        torch.full((1, 3, 8, 8), torch.inf),
        torch.zeros(1, 4, 2),
        torch.ones(1, 2),
        torch.zeros(1, 4, 3),
    )
    before = {k: v.clone() for k, v in state.model.state_dict().items()}
    with pytest.raises(liif.step.DivergedError):
        train_step(state.model, state.optimizer, batch, learning_rate=1e-3)
    for key, value in state.model.state_dict().items():
        assert torch.equal(value, before[key])
    with pytest.raises(UserError, match=r"step \d+: .*not finite.*is saved.*lower learning_rate"):
        train(config(photos, learning_rate=1e30, milestones=[]), tmp_path / "hot")


def test_a_broken_file_loses_nothing(photos, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "photos")
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


def test_a_crash_after_validation_leaves_no_double_line(photos, tmp_path, monkeypatch):
    settings = config(photos, save_every=4)
    assert train(settings, tmp_path / "whole")

    def crash(self, path, config, save=State.save):
        save(self, path, config)
        if self.step == 8 and path.name == "best.pt":
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(State, "save", crash)
        with pytest.raises(MemoryError):
            train(settings, tmp_path / "crashed")
    assert train(settings, tmp_path / "crashed")
    assert metrics(tmp_path / "crashed") == metrics(tmp_path / "whole")
    assert_same_weights(tmp_path / "whole", tmp_path / "crashed")


def test_gradient_clipping_limits_the_norm(photos):
    state = liif.state.new_state(config(photos), CPU)
    batch = Batch(
        torch.rand(2, 3, 8, 8), torch.zeros(2, 9, 2), torch.ones(2, 2), torch.rand(2, 9, 3)
    )
    _, norm = train_step(state.model, state.optimizer, batch, learning_rate=0.0, clip_gradient=1e-3)
    left = torch.stack([p.grad.norm() for p in state.model.parameters()]).norm().item()
    assert norm > 0.01 and left == pytest.approx(1e-3, rel=1e-3)


def test_bf16_stays_close(photos):
    losses = {}
    for bf16 in (False, True):
        state = liif.state.new_state(config(photos), CPU)
        torch.manual_seed(0)
        batch = Batch(
            torch.rand(2, 3, 8, 8), torch.rand(2, 50, 2), torch.ones(2, 2), torch.rand(2, 50, 3)
        )
        losses[bf16], _ = train_step(
            state.model, state.optimizer, batch, learning_rate=1e-3, bf16=bf16
        )
        assert all(p.dtype == torch.float32 for p in state.model.parameters())
    assert losses[True] != losses[False]
    assert losses[True] == pytest.approx(losses[False], rel=0.01)


def test_a_compiled_step_learns_the_same(photos, tmp_path, monkeypatch):
    """Traced by torch.compile, but run without its C++ compiler."""
    compiler = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", compiler)
    assert train(config(photos, steps=4, valid=None), tmp_path / "plain")
    assert train(config(photos, steps=4, valid=None, compile=True), tmp_path / "c")
    plain, compiled = weights(tmp_path / "plain"), weights(tmp_path / "c")
    for key, value in plain.items():
        torch.testing.assert_close(compiled[key], value, atol=1e-5, rtol=1e-3)


def test_ema_is_what_is_judged_and_used(photos, tmp_path):
    settings = config(photos, ema=0.5, steps=6)
    assert train(settings, tmp_path)
    checkpoint = read_checkpoint(tmp_path / "last.pt")
    raw = checkpoint.training["weights"]
    assert any(not torch.equal(raw[k], v) for k, v in checkpoint.weights.items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_save_and_the_same_command_goes_on(photos, tmp_path, number):
    file = tmp_path / "small.yaml"
    settings = config(photos, steps=100_000, workers=2, save_every=100_000, valid=None)
    file.write_text(liif.configfile.dump_config(settings))
    command = [sys.executable, "-m", "liif", "train", "--config", str(file)]

    def start():
        return subprocess.Popen(
            command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

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
        assert "to go on: " in errors
        return read_checkpoint(tmp_path / "runs" / "small" / "last.pt").training["step"], errors

    first, _ = stop(start())
    second, errors = stop(start())
    assert first >= 5
    assert re.search(rf"goes on at step {first}\b", errors)
    assert second > first


# What goes wrong


def test_a_step_that_is_not_finite_names_its_samples(photos, tmp_path, monkeypatch):
    def diverge(*args, **options):
        raise liif.step.DivergedError("loss nan, gradient norm nan")

    settings = config(photos, steps=8, valid=None)
    assert train(config(photos, steps=4, valid=None), tmp_path)
    monkeypatch.setattr(liif.train, "train_step", diverge)
    with pytest.raises(UserError, match=r"step 5: .*diverged\.json, and the same command repeats"):
        train(settings, tmp_path)
    told = json.loads((tmp_path / "diverged.json").read_text())
    assert told["step"] == 5 and [s["sample"] for s in told["samples"]] == [12, 13, 14]
    source = settings.train_data.open_source(None)
    for each in told["samples"]:
        index = image_of(source, settings.seed, each["sample"])
        assert each["image"] == source.store.names[index]
    assert read_checkpoint(tmp_path / "last.pt").training["step"] == 4


def test_a_gpu_without_memory_says_what_to_lower(photos, tmp_path, monkeypatch):
    def overflow(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(liif.train, "train_step", overflow)
    with pytest.raises(UserError, match=r"step 1: out of GPU memory.*accumulate.*batch_size"):
        train(config(photos), tmp_path)


@pytest.mark.timeout(60)
def test_a_worker_that_is_killed_is_told_with_its_file(photos):
    class Deadly:
        def __len__(self):
            return 3

        def name(self, index):
            return f"picture-{index}.png"

        def sample(self, index, rng):
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(UserError, match=r"(killed|exited).* reading: picture-\d\.png\. Out of"):
        list(batches(Deadly(), seed=0, batch_size=2, start=0, stop=9, workers=1))


def test_a_step_that_hangs_shows_where(photos, tmp_path, capfd, monkeypatch):
    step = liif.train.train_step

    def slow(*args, **options):
        time.sleep(0.6)
        return step(*args, **options)

    monkeypatch.setattr(liif.train, "train_step", slow)
    assert train(config(photos, steps=2, valid=None, stall_minutes=0.005), tmp_path)
    assert "in slow" in capfd.readouterr().err
