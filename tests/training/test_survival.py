"""A training that is killed, that runs out of disk, whose checkpoints rot: it goes on exactly.

LIIF_LONG=1 kills it a hundred times instead of eight.
"""

import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
import zipfile

import numpy as np
import pytest
import torch
from helpers.models import TINY
from helpers.pictures import texture
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from liif.cli import main
from liif.core.config_file import dump_config
from liif.core.errors import UserError
from liif.core.files import write_atomically
from liif.images.rgb8 import write_image
from liif.models.checkpoint import read_checkpoint, save_checkpoint
from liif.training.checkpoints import prune
from liif.training.config import TrainConfig
from liif.training.lock import occupied
from liif.training.resume import read_resumable, starting_checkpoint
from liif.training.train import train

KILLS = 100 if os.environ.get("LIIF_LONG") else 8
STEPS = 60


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for seed in range(3):
        write_image(folder / f"{seed}.png", texture(40, 44, seed))
    return folder


def settings(images, **changes):
    data = {"sampling": "random-scale", "images": str(images), "cache": "memory"}
    data |= {"patch": 8, "queries": 40, "scale": [1, 3]}
    valid = {"images": str(images), "scales": [2], "crop": 24, "limit": 1, "every": 5}
    values = {
        "model": TINY,
        "train_data": data,
        "valid": valid,
        "steps": STEPS,
        "batch_size": 2,
        "learning_rate": 1e-3,
        "milestones": [20],
        "ema": 0.9,
        "log_every": 3,
        "save_every": 2,
        "keep_every": 10,
        "keep": 2,
        "workers": 0,
    }
    return TrainConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def undisturbed(images, tmp_path_factory):
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert train(settings(images), folder)
    return folder


def state(file):
    """All of a checkpoint as plain values, without the time that it took."""
    found = read_checkpoint(file)
    training = {k: v for k, v in found.training.items() if k not in ("seconds", "config")}
    return plain({"weights": found.weights, **training})


def plain(value):
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    by_clock = ("images_per_s", "data_wait", "memory")
    return [{k: v for k, v in line.items() if k not in by_clock} for line in lines]


def curves(folder):
    """What TensorBoard shows."""
    board = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    board.Reload()
    tags = ("train/loss", "train/gradient_norm", "valid/mean_psnr", "valid/psnr/x2")
    return {tag: [(s.step, s.value) for s in board.Scalars(tag)] for tag in tags}


def assert_same_end(folder, expected):
    assert state(folder / "last.pt") == state(expected / "last.pt")
    assert state(folder / "best.pt") == state(expected / "best.pt")
    assert metrics(folder) == metrics(expected)
    assert curves(folder) == curves(expected)
    safe = "last.safetensors"
    assert plain(read_checkpoint(folder / safe).weights) == plain(
        read_checkpoint(expected / safe).weights
    )


def live(config, folder, started):
    """One life of a training; tells when its first step begins."""
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of loader workers, as in a plain process

    def stopping():
        if not started.closed:
            started.send(True)
            started.close()
        return False

    train(config, folder, stopping=stopping)


def test_a_hundred_kills_change_nothing(images, undisturbed, tmp_path):
    """SIGKILL at random moments; every life starts as a fork of one process that has imported all,
    or importing PyTorch would take most of the time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["liif.cli", "pytest", "tensorboard", "torch._dynamo"])
    rng = random.Random(0)
    kills = lives = while_writing = 0
    while kills < KILLS:
        run = tmp_path / f"run-{lives}"
        finished = False
        while not finished:
            config = settings(
                images, save_every=rng.randint(1, 3), workers=rng.choice((0, 0, 0, 1))
            )
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=live, args=(config, run, sender))
            process.start()
            sender.close()
            lives += 1
            assert receiver.poll(120)  # also where nothing was left to do
            time.sleep(rng.uniform(0, 0.3))
            if kills < KILLS:
                process.kill()
            process.join(120)
            finished = process.exitcode == 0
            if not finished:
                assert process.exitcode == -signal.SIGKILL
                kills += 1
                while_writing += any(run.glob(".*.tmp"))
        assert_same_end(run, undisturbed)
        assert not list(run.glob(".last.pt.*.tmp"))
        shutil.rmtree(run)
    print(f"{kills} kills, {while_writing} of them while a file was written; {lives} lives")  # noqa: T201


@pytest.fixture(scope="module")
def stopped(images, tmp_path_factory):
    """A run that was stopped after 36 steps, one more than its best checkpoint has."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    last = folder / "last.pt"
    train(
        settings(images), folder, stopping=lambda: last.exists() and read_resumable(last).step >= 36
    )
    return folder


@pytest.fixture
def halfway(stopped, tmp_path):
    """A copy of that run."""
    return shutil.copytree(stopped, tmp_path / "run")


def truncated(data):
    return data[: len(data) // 2]


def empty(data):
    return b""


def mutated(data):
    """A hundredth of the bytes, in the numbers of tensors for the most part."""
    rng = np.random.default_rng(0)
    array = np.frombuffer(data, np.uint8).copy()
    array[rng.integers(0, len(array), len(array) // 100)] ^= 0x55
    return array.tobytes()


def one_bit(data):
    """In the numbers of a tensor, which PyTorch would take as they are."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        numbers = archive.read(max(archive.infolist(), key=lambda info: info.file_size))
    position = data.index(numbers) + len(numbers) // 2
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@pytest.mark.parametrize(
    ("damage", "good"),
    [
        (truncated, "previous.pt"),
        (empty, "best.pt"),
        (mutated, "step-00000030.pt"),
        (one_bit, "step-00000030.pt"),
    ],
)
def test_a_damaged_checkpoint_costs_time_only(halfway, images, undisturbed, caplog, damage, good):
    newest_first = ["last.pt", "previous.pt", "best.pt", "step-00000030.pt"]
    for name in newest_first[: newest_first.index(good)]:
        file = halfway / name
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises(UserError):
            read_resumable(file)
    caplog.clear()
    assert starting_checkpoint(halfway, "auto").path == halfway / good
    (warning,) = caplog.messages
    assert str(halfway / "last.pt") in warning and str(halfway / good) in warning
    assert train(settings(images), halfway)
    assert_same_end(halfway, undisturbed)


def test_the_newest_good_checkpoint_is_taken(halfway, caplog):
    assert starting_checkpoint(halfway, "auto").path == halfway / "last.pt" and not caplog.records
    (halfway / "last.pt").unlink()
    assert starting_checkpoint(halfway, "auto").path == halfway / "previous.pt"  # of step 36
    with pytest.raises(UserError, match="not overwritten"):
        starting_checkpoint(halfway, "never")
    (halfway / "best.pt").unlink()
    (halfway / "previous.pt").unlink()
    assert starting_checkpoint(halfway, "auto").path == halfway / "step-00000030.pt"
    found = read_checkpoint(halfway / "step-00000030.pt")
    save_checkpoint(halfway / "last.pt", found.model, found.weights)
    for file in halfway.glob("step-*.pt"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"last\.pt: .*no other checkpoint of the run is good"):
        starting_checkpoint(halfway, "auto")
    assert starting_checkpoint(halfway / "none", "auto") is None
    assert starting_checkpoint(halfway / "none", "never") is None


def test_of_every_nth_checkpoint_the_newest_are_kept(halfway):
    def kept():
        return sorted(file.name for file in halfway.glob("*.pt"))

    always = ["best.pt", "last.pt", "previous.pt"]
    (halfway / "step-00000010.pt").touch()
    (halfway / "step-notes.pt").touch()
    before = kept()
    prune(halfway, None)
    assert kept() == before
    prune(halfway, 1)
    assert kept() == [*always, "step-00000030.pt", "step-notes.pt"]


def test_a_folder_is_of_one_process(tmp_path):
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()

    def hold():
        with occupied(tmp_path):
            ready.set()
            done.wait(60)

    process = context.Process(target=hold)
    process.start()
    assert ready.wait(60)
    with pytest.raises(UserError, match="another process trains there"), occupied(tmp_path):
        pass
    process.kill()
    process.join()
    with occupied(tmp_path):
        pass


def test_what_does_not_read_back_is_not_kept(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_atomically(file, b"good")
    monkeypatch.setattr("liif.core.files._holds", lambda *_: False)
    with pytest.raises(UserError, match="does not read back"):
        write_atomically(file, b"other")
    assert file.read_bytes() == b"good" and len(list(tmp_path.iterdir())) == 1


def test_leftovers_of_the_dead_are_removed(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = {"file", f".file.{os.getppid()}.tmp", f".other.{dead.pid}.tmp", ".file.txt.tmp"}
    for name in (*left, f".file.{dead.pid}.tmp"):
        (tmp_path / name).touch()
    write_atomically(tmp_path / "file", b"")
    assert {path.name for path in tmp_path.iterdir()} == left


@pytest.fixture
def small_disk(tmp_path):
    """One megabyte, as tmp_path/runs."""
    folder = tmp_path / "runs"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_and_loses_nothing(
    small_disk, images, undisturbed, tmp_path, monkeypatch, capsys
):
    """Kept checkpoints fill the disk; when some are gone, the same command goes on."""
    monkeypatch.chdir(tmp_path)
    file, run = tmp_path / "small.yaml", small_disk / "small"
    file.write_text(dump_config(settings(images, keep_every=1, keep=None)))
    command = ["train", "--config", str(file), "--device", "cpu"]
    seen = []
    while (status := main(command)) != 0:
        errors = capsys.readouterr().err
        assert status == 1 and "Traceback" not in errors
        error = errors.splitlines()[-1]
        assert error.startswith("error: ") and "No space left on device" in error
        seen.append(read_resumable(run / "last.pt").step)
        assert not list(run.glob(".*.tmp"))
        for kept in run.glob("step-*.pt"):
            kept.unlink()
        assert len(seen) < 20
    assert len(seen) > 1 and seen == sorted(set(seen))
    assert_same_end(run, undisturbed)
