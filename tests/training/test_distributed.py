"""Several processes do what one does: the same losses, scores, pictures; and they end together."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import processes
from helpers.models import TINY
from helpers.paths import ROOT
from helpers.pictures import texture

from liif.core.config_file import load_config
from liif.core.distributed import ALONE, Team, _attempt
from liif.data.loader import batches
from liif.images.rgb8 import read_image, write_image
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import read_checkpoint
from liif.training.config import TrainConfig
from liif.training.step import train_step

CONFIG = """\
model:
  encoder: {name: edsr-baseline, blocks: 1, width: 8}
  decoder: {name: liif, hidden: [16]}
train_data:
  {sampling: random-scale, images: photos, cache_dir: cache, patch: 10, queries: 64}
valid: {images: photos, scales: [2, 3], crop: 40, every: 4, protocol: none}
data_root: .
steps: 10
batch_size: 7
learning_rate: 1e-3
clip_gradient: 0.5
workers: 1
log_every: 1
save_every: 3
"""


@pytest.fixture
def project(tmp_path, photos, monkeypatch):
    """A folder with photographs and a configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


def start_ranks(size, *arguments, restarts=0):
    """Start a command as so many processes, as torchrun would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RESTART_COUNT": str(restarts),
    }
    command = [sys.executable, "-m", "liif", *arguments]
    pipes = {"stdout": processes.PIPE, "stderr": processes.STDOUT}
    return [
        processes.Popen(
            command,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            **pipes,
        )
        for rank in range(size)
    ]


def finished(ranks):
    """Wait for all processes: [(status, output)]."""
    try:
        outputs = [rank.communicate(timeout=120)[0] for rank in ranks]
    except subprocess.TimeoutExpired:
        for rank in ranks:
            rank.send_signal(signal.SIGABRT)  # prints where it waits
        pytest.fail("\n".join(rank.communicate(timeout=20)[0] for rank in ranks))
    finally:
        for rank in ranks:
            rank.kill()
    return [(rank.returncode, out) for rank, out in zip(ranks, outputs, strict=True)]


def together(size, *arguments):
    return finished(start_ranks(size, *arguments))


def lines(run):
    return [json.loads(line) for line in Path(f"runs/{run}/metrics.jsonl").read_text().splitlines()]


def without_times(line):
    return {k: v for k, v in line.items() if k not in ("images_per_s", "data_wait")}


# Training


def test_the_same_losses_scores_and_weights(cli, project):
    assert cli("train", "--config", "c.yaml", "--name", "one", "--device", "cpu")[0] == 0
    split = ("train", "--config", "c.yaml", "--device", "cpu", "--set", "accumulate=2")
    # Stopped half-way and continued with another number of processes.
    for size, steps in ((2, 5), (3, 10)):
        results = together(size, *split, "--name", "many", "--set", f"steps={steps}")
        assert [status for status, _ in results] == [0] * size, results
        assert all(out == "" for _, out in results[1:])  # one process speaks
    alone = [line for line in lines("one") if line["kind"] == "train"]
    shared = [line for line in lines("many") if line["kind"] == "train"]
    assert [line["step"] for line in shared] == [line["step"] for line in alone]
    for a, b in zip(alone, shared, strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-6
        assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=1e-4)
    a, b = ([v for v in lines(run) if v["kind"] == "valid"] for run in ("one", "many"))
    assert a[-1]["psnr"] == pytest.approx(b[-1]["psnr"], abs=1e-3)
    ours = read_checkpoint(Path("runs/many/last.pt")).weights
    for key, value in read_checkpoint(Path("runs/one/last.pt")).weights.items():
        torch.testing.assert_close(ours[key], value, atol=2e-5, rtol=1e-3)


def test_each_process_draws_its_own_share(project):
    source = load_config(TrainConfig, Path("c.yaml")).train_data.open_source(".")
    options = {"seed": 3, "batch_size": 7, "start": 2, "stop": 4}
    whole = list(batches(source, **options))
    for size in (1, 2, 3, 7):
        teams = [Team(rank, size) for rank in range(size)]
        shares = [team.share(7) for team in teams]
        assert [i for share in shares for i in share] == list(range(7))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        parts = [list(batches(source, **options, share=share)) for share in shares]
        for step, batch in enumerate(whole):
            for i, tensor in enumerate(batch[:4]):
                assert torch.equal(torch.cat([part[step][i] for part in parts]), tensor)


@pytest.mark.parametrize("parts", [2, 3, 7, 50])
def test_accumulated_gradients_are_those_of_the_whole_batch(project, parts):
    source = load_config(TrainConfig, Path("c.yaml")).train_data.open_source(".")
    (batch,) = batches(source, seed=0, batch_size=7, start=0, stop=1)
    batch = batch.to(torch.device("cpu"))
    model = build_model(ModelConfig.model_validate(TINY))
    results = []
    for accumulate in (1, parts):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        values = train_step(model, optimizer, batch, learning_rate=0.0, accumulate=accumulate)
        results.append((values, [p.grad.clone() for p in model.parameters()]))
    assert results[0][0][:3] == pytest.approx(results[1][0][:3], rel=1e-5)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_fewer_samples_than_processes(project):
    results = together(2, "train", "--config", "c.yaml", "--set", "batch_size=1", "--device", "cpu")
    assert [status for status, _ in results] == [1, 1]
    text = "".join(out for _, out in results)
    assert text.count("error:") == 1 and "batch_size: 1 is less than 2 processes" in text


# Testing and using


def test_scores_and_pictures_of_a_shared_test(cli, project, tiny_checkpoint):
    (project / "t.yaml").write_text(
        f"set: s\nhr: {project}/photos\nscale: 2\nprotocol: none\ncheckpoint: {tiny_checkpoint}\n"
    )
    options = ("test", "--config", "t.yaml", "--device", "cpu")
    _, expected, _ = cli(*options, "--out", "one.json", "--save-images", "one")
    results = together(2, *options, "--out", "two.json", "--save-images", "two")
    assert results == [(0, expected), (0, "")]
    one, two = (json.loads(Path(f"{name}.json").read_text()) for name in ("one", "two"))
    assert {**one, "seconds": 0} == {**two, "seconds": 0}
    for path in sorted(Path("one").iterdir()):
        assert np.array_equal(read_image(path), read_image(Path("two") / path.name))


@pytest.mark.parametrize("options", [(), ("--self-ensemble",)])
def test_a_picture_enlarged_together(cli, project, tiny_checkpoint, options):
    write_image(Path("in.png"), texture(30, 41))
    command = ("--checkpoint", tiny_checkpoint, "--size", "201x153", "--device", "cpu", *options)
    assert cli("upscale", "in.png", "-o", "one.png", *command)[0] == 0
    results = together(3, "upscale", "in.png", "-o", "three.png", *command)
    assert [status for status, _ in results] == [0, 0, 0], results
    one, three = (read_image(Path(f"{name}.png")).astype(int) for name in ("one", "three"))
    assert np.abs(one - three).max() <= 1  # the tiles lie elsewhere: float rounding, then 8 bit
    assert (one != three).mean() < 0.001


def test_a_table_measured_together(cli, project, tiny_checkpoint):
    files = {
        "configs/tables/t.yaml": "title: T\nsets: {s: {config: ../s.yaml}}\nscales: [2, 3]\n"
        "rows: [{name: Bicubic}, {name: Any, config: any}]\n",
        "configs/s.yaml": f"set: s\nhr: {project}/photos\nprotocol: none\n",
        "configs/any.yaml": "",
    }
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    options = (
        "tables",
        "--table",
        "t",
        "--checkpoint",
        f"any={tiny_checkpoint}",
        "--device",
        "cpu",
    )
    assert cli(*options, "--out", "one")[0] == 0
    results = together(2, *options, "--out", "two")
    assert [status for status, _ in results] == [0, 0] and results[1][1] == ""
    one, two = (json.loads(Path(n, "t.json").read_text())["cells"] for n in ("one", "two"))
    for a, b in zip(one, two, strict=True):
        assert (
            a["psnr"] == pytest.approx(b["psnr"], abs=1e-5) and a["measured"] == b["measured"] == 3
        )


# Ends


def wait_for_step(run, step):
    path, end = Path(f"runs/{run}/metrics.jsonl"), time.monotonic() + 100
    while time.monotonic() < end:
        if path.exists() and any(f'"step": {step},' in line for line in path.open()):
            return
        time.sleep(0.05)
    raise AssertionError("no progress")


TRAIN = ("--config", "c.yaml", "--device", "cpu", "--set", "valid=null")


def test_a_process_that_dies_takes_the_run_down_with_one_message(project):
    ranks = start_ranks(2, "train", *TRAIN, "--name", "k", "--set", "steps=100000")
    wait_for_step("k", 12)
    ranks[1].kill()
    (status, out), _ = finished(ranks)
    errors = [line for line in out.splitlines() if line.startswith("error:")]
    assert status == 1 and len(errors) == 1
    assert "process 0 of 2 lost" in errors[0] and "one of them has ended" in errors[0]


def assert_same_run(one, other):
    assert list(map(without_times, lines(one))) == list(map(without_times, lines(other)))
    ours = read_checkpoint(Path(f"runs/{other}/last.pt")).weights
    for key, value in read_checkpoint(Path(f"runs/{one}/last.pt")).weights.items():
        assert torch.equal(ours[key], value)


STEPS = ("--set", "steps=40", "--set", "save_every=5")


def test_a_restart_goes_on_exactly(project):
    results = together(2, "train", *TRAIN, "--name", "calm", *STEPS)
    assert [status for status, _ in results] == [0, 0], results
    command = ("train", *TRAIN, "--name", "killed", *STEPS)
    ranks = start_ranks(2, *command)
    wait_for_step("killed", 12)
    for rank in ranks:
        rank.kill()
    finished(ranks)
    results = finished(start_ranks(2, *command, restarts=1))
    assert [status for status, _ in results] == [0, 0], results
    assert re.search(r"at step [1-9]\d*", results[0][1])
    assert_same_run("calm", "killed")


def test_addresses_of_before_a_restart_are_not_met(monkeypatch):
    """Neither are those of other machines missed, which may have counted other restarts."""

    def kept_under(local, world, restarts):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
        monkeypatch.setenv("WORLD_SIZE", world)
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restarts)
        return _attempt()

    assert kept_under("2", "2", "0") != kept_under("2", "2", "1")
    assert kept_under("2", "4", "0") == kept_under("2", "4", "1")


@pytest.mark.parametrize("who", ["all", "one"])
def test_sigterm_saves_and_ends(project, who):
    ranks = start_ranks(2, "train", *TRAIN, "--name", "t", "--set", "steps=100000")
    wait_for_step("t", 10)
    for rank in ranks if who == "all" else ranks[1:]:
        rank.send_signal(signal.SIGTERM)
    results = finished(ranks)
    text = "".join(out for _, out in results)
    assert text.count("runs/t/last.pt") == 1 and "Traceback" not in text
    step = read_checkpoint(Path("runs/t/last.pt")).training["step"]
    assert step == lines("t")[-1]["step"] >= 10


def test_one_process_is_a_team_of_its_own():
    assert ALONE.leads and ALONE.any(True) and not ALONE.any(False)
    assert ALONE.gather("x") == ["x"] and ALONE.share(5) == range(5)
    assert ALONE.sum(torch.tensor([1.5, 2.0])).tolist() == [1.5, 2.0]


# With torchrun itself


def start_group(command, **options):
    """Start a command whose processes can be told apart from ours."""
    return subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    )


def worker_of(process, rank):
    """The process id of torchrun's worker with a rank."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = re.search(r"PPid:\s+(\d+)", (entry / "status").read_text())[1]
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(parent) == process.pid and b"RANK=%d" % rank in variables:
            return int(entry.name)
    raise AssertionError("no such worker")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")
def test_an_elastic_restart_goes_on_exactly(project):
    results = together(2, "train", *TRAIN, "--name", "calm", *STEPS)
    assert [status for status, _ in results] == [0, 0], results
    process = start_group(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--max-restarts", "2", ROOT / "scripts/train.py", *TRAIN, "--name", "killed", *STEPS),
        ]
    )
    try:
        wait_for_step("killed", 12)
        os.kill(worker_of(process, 1), signal.SIGKILL)
        out, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, out
    assert re.search(r"at step [1-9]\d*", out)
    assert_same_run("calm", "killed")


@pytest.mark.slow
def test_the_slurm_recipe_saves_queues_again_and_goes_on(project):
    """docs/slurm.sh with stand-ins for Slurm's own commands."""
    commands = {
        "srun": 'exec "$@"',
        "scontrol": 'echo "scontrol $*" >> queue',
        "torchrun": f'exec {sys.executable} -m torch.distributed.run "$@"',
    }
    for name, text in commands.items():
        file = project / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
    (project / "scripts").symlink_to(ROOT / "scripts")
    path = f"{project / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SLURM_JOB_ID": "7"}

    def submit(steps):
        command = ["bash", ROOT / "docs" / "slurm.sh", TRAIN[1], *TRAIN[2:]]
        return start_group([*command, "--set", f"steps={steps}"], env=environment)

    job = submit(100000)
    try:
        wait_for_step("c", 10)
        os.kill(job.pid, signal.SIGUSR1)
        out, _ = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 0 and "runs/c/last.pt" in out, out
    assert (project / "queue").read_text() == "scontrol requeue 7\n"
    saved = read_checkpoint(Path("runs/c/last.pt")).training["step"]
    out, _ = submit(saved + 5).communicate(timeout=100)
    assert f"at step {saved}" in out and "done: runs/c/last.pt" in out


# Losses that learn


ADVERSARIAL = (
    "--set", "loss=[{name: l1}, {name: adversarial, weight: 0.1, width: 4}]",
    "--set", "train_data.layout=patch", "--set", "valid=null", "--device", "cpu",
)  # fmt: skip


def test_a_discriminator_learns_alike_in_several_processes(cli, project):
    assert cli("train", "--config", "c.yaml", "--name", "one", *ADVERSARIAL)[0] == 0
    split = ("train", "--config", "c.yaml", "--name", "many", *ADVERSARIAL)
    for steps in (5, 10):  # stopped half-way and continued
        results = together(2, *split, "--set", "accumulate=2", "--set", f"steps={steps}")
        assert [status for status, _ in results] == [0, 0], results
    for a, b in zip(lines("one"), lines("many"), strict=True):
        for key in ("loss", "loss/l1", "loss/adversarial", "loss/adversarial/own"):
            assert a[key] == pytest.approx(b[key], abs=1e-5)
    one, many = (
        read_checkpoint(Path(f"runs/{run}/last.pt")).training["losses"]["state"]["adversarial"]
        for run in ("one", "many")
    )
    for key, value in one["weights"].items():
        torch.testing.assert_close(many["weights"][key], value, atol=2e-5, rtol=1e-3)
