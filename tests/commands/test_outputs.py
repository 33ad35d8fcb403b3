"""No command replaces an input, or unasked a file that exists, and each says so before the work."""

import json
import os
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

from liif.cli import main
from liif.commands import convert as convert_command
from liif.commands import data, export, plot, tables, test

RESULT = {
    "set": "mine", "scale": 2, "protocol": "benchmark", "psnr": 30.0, "psnr_rgb": 29.0,
    "psnr_y": 30.0, "ssim": 0.9, "bicubic": 28.0, "images": [], "checkpoint": "a.pt",
}  # fmt: skip

WORK = {
    "test": (test, "evaluate"),
    "plot": (plot, "encode_figure"),
    "tables": (tables, "_measure"),
    "data": (data, "view_sample"),
    "convert": (convert_command, "read_checkpoint"),
    "export": (export, "read_checkpoint"),
}
"""What each command calls only when it works."""


def files():
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.fixture
def kept(refused, monkeypatch, scoring, training, photos, tiny_checkpoint):
    """The message of a command that must end before its work and change no file."""
    Path("r.json").write_text(json.dumps(RESULT))
    Path("model.pt").write_bytes(tiny_checkpoint.read_bytes())
    Path("metrics").mkdir()
    Path("metrics/metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n')

    def run(line):
        command = line.split()
        monkeypatch.setattr(*WORK[command[0]], lambda *_, **__: pytest.fail("the work began"))
        before = files()
        said = refused(*command)
        assert files() == before
        return said

    return run


TEST = "test --config t.yaml --checkpoint model.pt"
CROPS = "plot crops --image photos/a.png --checkpoint model.pt"


@pytest.mark.parametrize(
    ("line", "file"),
    [
        (f"{TEST} -o t.yaml", "t.yaml"),
        (f"{TEST} -o ./photos/../t.yaml", "t.yaml"),
        (f"{TEST} -o T.YAML", "T.YAML"),
        (f"{TEST} -o hard.json", "hard.json"),
        (f"{TEST} --save-images photos", "photos/a.png"),
        (f"{TEST} --save-images linked", "linked/a.png"),
        (f"{CROPS} -o photos/a.png", "photos/a.png"),
        (f"{CROPS} -o a.pdf -o photos/A.PNG", "photos/A.PNG"),
        ("plot psnr r.json -o soft.png", "soft.png"),
        ("plot curves metrics -o soft-log.png", "soft-log.png"),
        ("data preview r.yaml -o r.yaml", "r.yaml"),
        ("convert --checkpoint model.pt -o model.pt", "model.pt"),
        ("convert --checkpoint model.pt -o MODEL.pt", "MODEL.pt"),
        ("export --checkpoint graphs/model.json --format torch -o graphs", "graphs/model.json"),
    ],
)
def test_inputs_are_kept_even_with_overwrite(kept, line, file, tiny_checkpoint):
    Path("hard.json").hardlink_to("photos/b.png")
    Path("linked").symlink_to("photos", target_is_directory=True)
    Path("soft.png").symlink_to("r.json")
    Path("soft-log.png").symlink_to("metrics/metrics.jsonl")
    Path("graphs").mkdir()
    Path("graphs/model.json").write_bytes(tiny_checkpoint.read_bytes())
    for more in ("", " --overwrite"):
        said = kept(line + more)
        assert f"{file}: is an input" in said or f"{file}: many disks" in said


@pytest.mark.parametrize(
    ("line", "file"),
    [
        (f"{TEST} -o old.json", "old.json"),
        (f"{TEST} --save-images old", "old/b.png"),
        ("plot psnr r.json -o old.png", "old.png"),
        ("plot curves metrics -o new.png -o old.png", "old.png"),
        (f"{CROPS} -o old.png", "old.png"),
        ("data preview r.yaml -o old.png", "old.png"),
        ("data preview r.yaml", "preview.png"),
        ("convert --checkpoint model.pt -o old.pt", "old.pt"),
        ("export --checkpoint model.pt --format torch -o old", "old/decoder.pt2"),
    ],
)
def test_existing_files_are_kept(kept, line, file):
    Path("old").mkdir()
    for name in ("old.json", "old.png", "old.pt", "old/b.png", "old/decoder.pt2", "preview.png"):
        Path(name).write_text("mine")
    assert kept(line) == f"error: {file}: exists already; --overwrite replaces it\n"


def test_a_table_updates_its_own_results_only(cli, table, refused):
    run = ("tables", "--table", "t", "--rows", "Bicubic", "--scales", "2")
    Path("results").mkdir()
    Path("results/t.md").write_text("mine")
    assert "results/t.md: exists already; --overwrite replaces it" in refused(*run)
    assert Path("results/t.md").read_text() == "mine"
    assert cli(*run, "--overwrite")[0] == 0
    assert cli(*run)[0] == 0  # the same command resumes
    Path("results/t.json").write_text('{"table": "other"}')
    assert "exists already" in refused(*run)


def test_a_run_replaces_neither_its_configuration_nor_files_of_others(
    cli, refused, training, monkeypatch
):
    monkeypatch.setattr("liif.commands.train.train", lambda *_, **__: True)
    Path("runs/x").mkdir(parents=True)
    Path("runs/x/config.yaml").write_text(f"# mine\n{training.read_text()}")
    own = ("train", "--config", "runs/x/config.yaml", "--name", "x", "--device", "cpu")
    assert "runs/x/config.yaml: is an input" in refused(*own)
    other = ("train", "--config", training, "--name", "x", "--device", "cpu")
    assert "runs/x: holds a file config.yaml, but no run" in refused(*other)
    assert Path("runs/x/config.yaml").read_text().startswith("# mine")
    run = ("train", "--config", training, "--name", "y", "--device", "cpu")
    assert cli(*run)[0] == 0
    Path("runs/y/config.yaml").write_text(training.read_text())  # as the training writes it
    again = ("train", "--config", "runs/y/config.yaml", "--name", "y", "--device", "cpu")
    assert cli(*again)[0] == 0
    assert "runs/y/config.yaml: is an input" in refused(*again, "--set", "steps=3")


def test_a_configuration_is_not_printed_into_itself(training, monkeypatch, capsys):
    before = training.read_bytes()
    with training.open("a") as file:
        monkeypatch.setattr(sys, "stdout", file)
        assert main(["config", "show", str(training)]) == 1
    assert f"{training}: is the input and the output" in capsys.readouterr().err
    assert training.read_bytes() == before


@pytest.mark.parametrize("script", ["benchmarks/measure.py", "benchmarks/gpu.py"])
def test_benchmarks_keep_files(folder, script, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    Path("old").mkdir()
    Path("old.json").write_text("mine")
    if script.endswith("gpu.py"):
        import gpu

        monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--out", "old"])
        with pytest.raises(SystemExit):
            gpu.arguments()
        assert "old: exists, and is no earlier report" in capsys.readouterr().err
    else:
        import measure

        with pytest.raises(SystemExit):
            measure.arguments("x").parse_args(["--json", "old.json"])
        assert "old.json: exists already; choose another name" in capsys.readouterr().err
    assert os.listdir("old") == [] and Path("old.json").read_text() == "mine"
