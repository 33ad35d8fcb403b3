"""Two results image by image: the same images, the interval, and the figure."""

import json
from pathlib import Path

import numpy as np
import pytest

from liif.evaluation.bootstrap import paired_difference
from liif.evaluation.results import read_image_pairs
from liif.figures.images import ImageScores, images_figure

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def drawing():
    pytest.importorskip("matplotlib", reason="figures need the extra [plot]")


def result(file, scores, *, scale=2, checkpoint="a.pth", **other):
    images = [{"name": name, "psnr": value} for name, value in scores.items()]
    record = {"set": "set5", "scale": scale, "protocol": "benchmark", "psnr": 30.0, "ssim": 0.9}
    record |= {"bicubic": 28.0, "checkpoint": checkpoint, "images": images, **other}
    Path(file).write_text(json.dumps(record))
    return Path(file)


def test_images_are_matched_by_name():
    one = result("a.json", {"x": 30.0, "y": 31.0, "z": 32.0})
    two = result("b.json", {"z": 32.5, "x": 30.1, "w": 99.0}, checkpoint="runs/new/last.pt")
    (found,), names = read_image_pairs((one, two), "psnr")
    assert found == ("set5 x2", ("x", "z"), (30.0, 32.0), (30.1, 32.5))
    assert names == ["a", "new"]


def test_the_interval_is_that_of_the_mean():
    """Of normal differences: mean ± 1.96 standard errors, whatever the images are like."""
    rng = np.random.default_rng(0)
    hard = rng.normal(30, 5, 400)
    change = rng.normal(0.1, 0.5, 400)
    found = paired_difference(hard, hard + change)
    error = change.std() / 20
    assert found.mean == pytest.approx(change.mean())
    assert found.low == pytest.approx(change.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(change.mean() + 1.96 * error, abs=0.15 * error)
    assert found.wins == (change > 0).sum() and found.images == 400
    assert paired_difference([1, 2], [2, 3]).stability == 1
    assert 0.4 < paired_difference([0.0, 0.0], [1.0, -0.9]).stability < 0.9


@pytest.mark.usefixtures("drawing")
def test_the_command(cli):
    one = result("a.json", {"x": 30.0, "y": 31.0, "z": 32.0})
    two = result("b.json", {"x": 30.5, "y": 31.5, "z": 32.1}, checkpoint="b.pth")
    status, out, _ = cli("plot", "images", one, two, "-o", "f.svg")
    assert status == 0 and "set5 x2: b above a +0.3667, 95 % +0.1000 to +0.5000" in out
    assert "better on 3 of 3 images; the order holds in 100.0%" in out
    assert Path("f.svg").read_text().startswith("<?xml")


@pytest.mark.usefixtures("drawing")
def test_the_figure_shows_the_differences():
    first, second = [30.0, 31.0, 35.0], [30.5, 30.8, 35.1]
    scores = ImageScores("set5 x2", first, second, paired_difference(first, second))
    figure = images_figure([scores, scores], ("old", "new"), "PSNR (dB)")
    assert len(figure.axes) == 2
    axis = figure.axes[0]
    zero, mean, points = axis.lines
    assert list(points.get_xdata()) == first
    assert list(points.get_ydata()) == pytest.approx([0.5, -0.2, 0.1])
    assert zero.get_ydata()[0] == 0 and mean.get_ydata()[0] == pytest.approx(0.4 / 3)
    band = axis.patches[0].get_extents().transformed(axis.transData.inverted())
    assert (band.y0, band.y1) == pytest.approx(scores.difference[1:3])
    labels = axis.get_title(), axis.get_xlabel(), axis.get_ylabel()
    assert labels == ("set5 x2", "PSNR (dB) of old", "new above old")


@pytest.mark.usefixtures("drawing")
def test_what_cannot_be_compared(refused):
    one = result("a.json", {"x": 30.0})
    other_scale = result("b.json", {"x": 30.0}, scale=3)
    other_protocol = result("c.json", {"x": 30.0}, protocol="div2k")
    recipe = result("d.json", {"x": 30.0}, lr="arbsr")
    for file, message in [
        (other_scale, "no images of one set and scale"),
        (other_protocol, "another protocol"),
        (recipe, "no images of one set and scale"),
    ]:
        assert message in refused("plot", "images", one, file, "-o", "f.png")
