"""Several processes end together, when one dies or is told to stop, and go on exactly."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.paths import ROOT
from helpers.ranks import finished, lines, start_ranks, together, without_times

from liif.core.distributed import _attempt
from liif.models.checkpoint import read_checkpoint


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
