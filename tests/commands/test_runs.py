"""`liif runs`: state, numbers and resume command of every run."""

import argparse
import json
import zipfile

import pytest
from helpers.models import TINY

from liif.commands import runs
from liif.core.config_file import dump_config
from liif.core.errors import UserError
from liif.training.config import TrainConfig


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
        assert runs.run(argparse.Namespace(folders=list(folders), json=False)) == 0
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


def test_runs_with_their_state_and_the_command_that_resumes_them(listed, tmp_path):
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
    assert "last.pt is damaged: resumes from an older checkpoint" in notes["longer"]
    assert "no other checkpoint is intact" in notes["hopeless"]
    assert "config.yaml: model: must be given" in notes["strange"]


def test_a_run_elsewhere_is_resumed_there(listed, tmp_path):
    folder = make_run(tmp_path / "other place", "a")
    (folder / "record.json").write_text('[{"processes": 4}]')
    _, notes = listed(folder)
    place = tmp_path / "other place"
    assert notes["a"] == (
        f"cd '{place}' && torchrun --nproc-per-node 4 -m liif train "
        "--config runs/a/config.yaml --name a"
    )
    assert listed(folder.parent) == listed(folder)


def test_no_runs_are_an_error(listed, tmp_path):
    with pytest.raises(UserError, match=r"runs: cannot be listed: No such file"):
        listed()
    with pytest.raises(UserError, match="no runs here"):
        listed(tmp_path)


def test_a_run_outside_of_runs_says_where_to_move_it(listed, tmp_path):
    make_run(tmp_path, "a").rename(tmp_path / "a")
    _, notes = listed(tmp_path / "a")
    assert notes == {"a": "to resume, move this run under a directory named runs/"}


def test_a_run_of_another_version_shows_its_state_and_the_unknown_key(listed, tmp_path):
    folder = make_run(tmp_path, "newer")
    text = (folder / "config.yaml").read_text()
    newer = text.replace("model:\n", "model:\n  depth: 2\n")
    (folder / "config.yaml").write_text(f"{newer}dropout: 0.5\nwindow: 3\n")
    damaged = make_run(tmp_path, "wrong")
    (damaged / "config.yaml").write_text(f"{text}dropout: 0.5\n".replace("steps: 200", "steps: x"))
    rows, notes = listed()
    assert rows["newer"] == ["stopped", "100/200", "27.50", "0.0100", "4.0", "0:00:50"]
    assert notes["newer"].endswith("that this version does not know: model.depth, dropout, window")
    assert rows["wrong"][0] == "damaged" and "steps: must be" in notes["wrong"]
