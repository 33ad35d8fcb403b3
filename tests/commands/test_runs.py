"""`liif runs` and the record that a run keeps of its starts."""

import argparse
import json
import subprocess
import time
import zipfile

import pytest
import torch
from helpers.models import TINY

import liif.training.record
from liif.commands import runs
from liif.core.config_file import dump_config
from liif.core.errors import UserError
from liif.training.config import TrainConfig
from liif.training.record import read_record, write_record

CPU = torch.device("cpu")


def settings(**changes):
    data = {"sampling": "random-scale", "images": "builtin:train", "patch": 8, "queries": 40}
    values = {"model": TINY, "train_data": data, "steps": 200, "batch_size": 2, **changes}
    return TrainConfig.model_validate(values)


def make_run(root, name, *, step=100, steps=200, files=()):
    """What a run leaves, without training."""
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(settings(steps=steps)))
    lines = [
        {"kind": "train", "step": i, "loss": 1 / i, "gradient_norm": 1.0, "images_per_s": 4.0}
        for i in range(10, step + 1, 10)
    ]
    psnr = {step // 2: 27.5, step: 26.0}
    lines += [{"kind": "valid", "step": i, "mean_psnr": value} for i, value in psnr.items()]
    lines.sort(key=lambda line: line["step"])
    content = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(content + '{"kind": "train", "st')  # killed
    (folder / ".lock").touch()
    with zipfile.ZipFile(folder / "last.pt", "w") as archive:
        archive.writestr("data", b"")
    for file in files:
        (folder / file).touch()
    return folder


@pytest.fixture
def listed(tmp_path, monkeypatch, capsys):
    """The table by run, and the line under each."""
    monkeypatch.chdir(tmp_path)

    def table(*folders):
        assert runs.run(argparse.Namespace(folders=list(folders))) == 0
        rows, notes = {}, {}
        name = ""
        for line in capsys.readouterr().out.splitlines():
            if line.startswith("    "):
                notes[name] = line.strip()
            else:
                name, *cells = line.split()
                rows[name] = cells
        assert " ".join(rows.pop("run")) == "state step best PSNR loss images/s time"
        return rows, notes

    return table


def test_every_run_tells_its_state_and_how_to_go_on(listed, tmp_path):
    make_run(tmp_path, "done", step=200, files=["last.safetensors"])
    make_run(tmp_path, "half")
    longer = make_run(tmp_path, "longer", step=200, steps=300, files=["last.safetensors"])
    (longer / "last.pt").write_bytes(b"")
    (longer / "best.pt").write_bytes((longer.parent / "done" / "last.pt").read_bytes())
    (make_run(tmp_path, "hopeless") / "last.pt").write_bytes(b"PK")
    (make_run(tmp_path, "strange") / "config.yaml").write_text("steps: many")
    (make_run(tmp_path, "alive") / ".lock").unlink()
    (tmp_path / "runs" / "notes").mkdir()
    rows, notes = listed()
    assert rows == {
        "alive": ["running?", "100/200", "27.50", "0.0100", "4.0", "0:00:50"],
        "done": ["finished", "200/200", "27.50", "0.0050", "4.0", "0:01:40"],
        "half": ["stopped", "100/200", "27.50", "0.0100", "4.0", "0:00:50"],
        "hopeless": ["damaged", "100/200", "27.50", "0.0100", "4.0", "0:00:50"],
        "longer": ["stopped", "200/300", "27.50", "0.0050", "4.0", "0:01:40"],
        "strange": ["damaged", "-", "-", "-", "-", "-"],
    }
    assert notes.keys() == {"half", "hopeless", "longer", "strange"}
    assert notes["half"] == "liif train --config runs/half/config.yaml --name half"
    assert "last.pt is damaged: from an older one" in notes["longer"]
    assert "no other is good" in notes["hopeless"]
    assert "config.yaml: model: must be given" in notes["strange"]


def test_a_run_elsewhere_is_gone_on_with_there(listed, tmp_path):
    folder = make_run(tmp_path / "other place", "a")
    (folder / "record.json").write_text('[{"processes": 4}]')
    _, notes = listed(folder)
    place = tmp_path / "other place"
    assert notes["a"] == (
        f"cd '{place}' && torchrun --nproc-per-node 4 -m liif train "
        "--config runs/a/config.yaml --name a"
    )
    assert listed(folder.parent) == listed(folder)


def test_no_runs_are_a_mistake(listed, tmp_path):
    with pytest.raises(UserError, match=r"runs: cannot be listed: No such file"):
        listed()
    with pytest.raises(UserError, match="no runs here"):
        listed(tmp_path)


def test_a_hundred_runs_are_listed_quickly(listed, tmp_path):
    for i in range(100):
        make_run(tmp_path, f"run{i:03}", step=2000)
    start = time.perf_counter()
    assert len(listed()[0]) == 100
    assert time.perf_counter() - start < 10


def git(folder, *command):
    identity = ["-c", "user.name=N", "-c", "user.email=e@example.org"]
    subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository that we are in, while the package is in none."""
    monkeypatch.setattr(liif.training.record, "__file__", "/nowhere/record.py")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "code.py").write_text("a = 1\n")
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    monkeypatch.chdir(folder)
    return folder


def test_every_start_is_recorded(repository, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    write_record(run, settings(), CPU)
    (repository / "code.py").write_text("a = 2\n")
    (repository / "new.py").touch()
    write_record(run, settings(), CPU)
    write_record(run, settings(seed=7), CPU, processes=2)
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
    assert data["files"] == 11 and data["digest"] == third["data"]["train_data.images"]["digest"]
    assert first["folder"] == str(repository) and first["command"]


def test_a_record_is_no_reason_not_to_train(repository, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "")  # no git
    run = tmp_path / "run"
    run.mkdir()
    (run / "record.json").write_text('[{"time"')
    data = {**settings().train_data.model_dump(), "images": "missing"}
    write_record(run, settings(train_data=data), CPU)
    (entry,) = read_record(run)
    assert entry["git"] is None
    assert "no such file" in entry["data"]["train_data.images"]["error"]
    assert (run / "record.damaged.json").exists() and not caplog.records
    (tmp_path / "file").touch()
    write_record(tmp_path / "file", settings(), CPU)
    assert "no record of this start" in caplog.text
