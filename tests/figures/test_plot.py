"""Output files of `liif plot`, a missing matplotlib, and global settings."""

import sys
from pathlib import Path

import pytest
from helpers.plotting import matplotlib, refused, result_file

from liif.evaluation.results import ScorePoint
from liif.figures.scores import scores_figure
from liif.figures.style import STYLE, encode_figure

pytestmark = pytest.mark.usefixtures("folder")


def test_outputs_that_cannot_be_written_are_refused():
    draw = ("psnr", result_file("a.json", 2, 38.0))
    for name in ("o.eps", "o", "o.png.txt"):
        said = refused(*draw, "--out", "fine.png", "--out", name)
        assert said == f"{name}: cannot draw this format; use one of .png .pdf .svg"
    Path("file").write_text("mine")
    assert "file/o.png: cannot be written" in refused(*draw, "--out", "file/o.png")
    Path("folder.png").mkdir()
    assert "folder.png: is a folder" in refused(*draw, "--out", "folder.png")


def test_inputs_are_never_overwritten(photos, tiny_checkpoint):
    result = result_file("a.png", 2, 38.0)
    Path("run").mkdir()
    Path("run/metrics.jsonl").write_text("")
    Path("log.png").symlink_to("run/metrics.jsonl")
    Path("model.png").write_bytes(tiny_checkpoint.read_bytes())
    crops = ("crops", "--image", photos / "b.png", "--checkpoint", "m=model.png")
    for draw, output in [
        (("psnr", result), "a.png"),
        (("curves", "run"), "log.png"),
        (crops, "photos/b.png"),
        (crops, "model.png"),
    ]:
        said = refused(*draw, "-o", "fine.png", "-o", output)
        assert said == f"{output}: is an input; choose another name"


def test_a_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = refused("psnr", result_file("a.json", 2, 38.0), "--out", "o.png")
    assert said == 'drawing needs matplotlib: pip install "liif[plot]"'


def test_global_settings_stay_unchanged():
    def settings():
        return [matplotlib.rcParams[key] for key in STYLE]

    before = settings(), "matplotlib.pyplot" in sys.modules
    points = [ScorePoint("s", "l", (2, 2), 1.0), ScorePoint("s\udce9", r"$\frac$", (3, 3), 1.0)]
    encode_figure(scores_figure(points, "PSNR (dB)"), ".png")
    assert (settings(), "matplotlib.pyplot" in sys.modules) == before
