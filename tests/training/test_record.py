"""The record that a run keeps of its starts: repository, versions, device, data."""

import subprocess
from pathlib import Path

import pytest
import torch
from helpers.pictures import save_noise

from liif.training import record
from liif.training.record import fingerprint, read_record, write_record


def git(folder, *command):
    identity = ["-c", "user.name=N", "-c", "user.email=e@example.org"]
    subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository as the current folder, while the package is in none."""
    monkeypatch.setattr(record, "__file__", "/nowhere/record.py")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "code.py").write_text("a = 1\n")
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    monkeypatch.chdir(folder)
    return folder


def start(run, *, seed=0, images="photos", processes=1):
    """Record a start of a run in the folder `run`."""
    data = {"train_data.images": fingerprint(Path(images))}
    settings = {"config": f"seed: {seed}\n", "seed": seed, "data": data}
    write_record(run, **settings, device=torch.device("cpu"), processes=processes)


def test_every_start_is_recorded(repository, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    save_noise(Path("../photos/a.png"))
    start(run, images="../photos")
    (repository / "code.py").write_text("a = 2\n")
    (repository / "new.py").touch()
    start(run, images="../photos")
    start(run, images="../photos", seed=7, processes=2)
    first, second, third = read_record(run)
    assert first["git"]["changed"] == [] and first["git"]["patch"] is None
    assert second["git"]["commit"] == first["git"]["commit"] and len(second["git"]["commit"]) == 40
    assert second["git"]["changed"] == [" M code.py", "?? new.py"]
    assert third["git"]["patch"] == second["git"]["patch"] == "dirty-2.patch"
    assert "+a = 2" in (run / "dirty-2.patch").read_text()
    assert first["config"] == second["config"] != third["config"]
    assert (first["seed"], third["seed"], third["processes"]) == (0, 7, 2)
    assert torch.__version__.startswith(first["versions"]["torch"])
    assert "CPU" in first["device"]
    data = first["data"]["train_data.images"]
    assert data["files"] == 1 and data["digest"] == third["data"]["train_data.images"]["digest"]
    assert first["folder"] == str(repository) and first["command"]


def test_a_record_that_cannot_be_written_is_a_warning(repository, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "")  # no git
    run = tmp_path / "run"
    run.mkdir()
    (run / "record.json").write_text('[{"time"')
    start(run, images="missing")
    (entry,) = read_record(run)
    assert entry["git"] is None
    assert "no such file" in entry["data"]["train_data.images"]["error"]
    assert (run / "record.damaged.json").exists() and not caplog.records
    (tmp_path / "file").touch()
    start(tmp_path / "file")
    assert "no record of this start" in caplog.text
