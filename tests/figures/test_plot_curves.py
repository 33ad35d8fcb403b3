"""Plots of training curves show the logged values."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from helpers.plotting import data, plot, refused

from liif.evaluation.results import RunCurves, read_run
from liif.figures.curves import curves_figure, smoothed

pytestmark = pytest.mark.usefixtures("folder")


def record(kind, step, **values):
    return json.dumps({"kind": kind, "step": step, **values}) + "\n"


def run_folder(name, text):
    Path(name).mkdir(parents=True)
    (Path(name) / "metrics.jsonl").write_text(text)
    return Path(name)


def test_curves_of_runs(folder):
    text = "".join(
        record("train", s, loss=1 / s, learning_rate=1e-4, gradient_norm=math.inf)
        for s in range(5, 205, 5)
    )
    valid = [
        record("valid", s, psnr={"x2": s, "x4": 20.0}, bicubic={"x2": 33.0}) for s in (100, 200)
    ]
    a = run_folder("runs/_a", text + "".join(valid) + '{"kind": "train", "st')
    b = run_folder("runs/$b", record("train", 7, loss=math.nan, learning_rate=0.5))
    runs = [read_run(a, "_a"), read_run(b, "$b")]
    assert runs[1] == RunCurves("$b", [], [(7, 0.5)], {}, {})
    figure = curves_figure(runs)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[1:] == ["validation x2", "validation x4", "learning rate"]
    loss, x2, x4, rate = figure.axes
    raw, smooth = loss.lines
    assert data(raw) == [(s, 1 / s) for s in range(5, 205, 5)]
    assert np.allclose(smooth.get_ydata(), smoothed([1 / s for s in range(5, 205, 5)]))
    validated, bicubic = x2.lines
    assert data(validated) == [(100, 100), (200, 200)] and set(bicubic.get_ydata()) == {33.0}
    assert data(x4.lines[0]) == [(100, 20), (200, 20)] and len(x4.lines) == 1
    assert data(rate.lines[1]) == [(7, 0.5)]
    assert raw.get_color() != rate.lines[1].get_color()
    assert [t.get_text() for t in figure.legends[0].texts] == [" _a", "$b", "bicubic"]
    plot("curves", a, b, "--out", "o.png", "--out", "o.pdf")
    assert Path("o.pdf").read_bytes().startswith(b"%PDF")


def test_smoothing():
    assert smoothed([5.0]).tolist() == [5] and np.allclose(smoothed([2.0] * 99), 2)
    assert np.allclose(smoothed(list(range(99))), range(99))  # not biased at the ends
    noise = np.random.default_rng(0).normal(size=1000)
    assert smoothed(noise.tolist()).std() < 0.2
    assert smoothed([1, 4, 1]).tolist() == [1, 2, 1]


def test_runs_without_curves():
    assert "no/metrics.jsonl: cannot be read: No such file" in refused(
        "curves", "no", "--out=o.png"
    )
    Path("file").write_text("")
    assert "name the folder of a run" in refused("curves", "file", "--out", "o.png")
    good = record("train", 5, loss=0.5)
    for name, text, said in (
        ("a", "", "there is nothing to draw yet"),
        ("b", good[:9], "there is nothing to draw yet"),
        ("c", record("train", 5, loss=None), "there is nothing to draw yet"),
        ("d", "hello\n" + good, "line 1 is not a line of a run's log"),
        ("e", good + "[1]\n" + good, "line 2 is not a line of a run's log"),
        ("f", record("train", 5, loss="0.5") + good, "line 1 is not a line of a run's log"),
    ):
        message = refused("curves", run_folder(name, text), "--out", "o.png")
        assert message.startswith(f"{name}/metrics.jsonl: ") and said in message
