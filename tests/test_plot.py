"""Figures: what is drawn is what was measured, and mistakes are told in one line."""

import argparse
import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import texture
from PIL import Image

from liif.checkpoint import load
from liif.commands import plot as command
from liif.crops import Box, Row, Scene, enlarged
from liif.data.images import read_image
from liif.data.pairs import reduce
from liif.data.resize import matlab_bicubic
from liif.errors import UserError
from liif.evaluate import to_image, to_tensor
from liif.results import Point, Run, over, read_points, read_run

matplotlib = pytest.importorskip("matplotlib", reason="figures need the extra [plot]")

from liif.plot import (  # noqa: E402
    DPI,
    GAP_PX,
    GRAY,
    STYLE,
    crops_figure,
    curves_figure,
    rendered,
    scores_figure,
    smoothed,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Everything happens in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UserError(message)


def plot(*arguments):
    """`liif plot …` in this process."""
    parser = Parser()
    command.arguments(parser)
    assert command.run(parser.parse_args([str(argument) for argument in arguments])) == 0


def refused(*arguments):
    """The one line of a `liif plot …` that must fail and leave nothing."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(UserError) as caught:
        plot(*arguments)
    assert sorted(Path().rglob("*")) == before and "\n" not in str(caught.value)
    return str(caught.value)


def result_file(file, scale, psnr, **values):
    """A file as `liif test --out` writes it."""
    result = {
        "set": "set5", "scale": scale, "protocol": "benchmark", "psnr": psnr, "ssim": 0.9,
        "psnr_y": psnr, "bicubic": 30 - (scale if isinstance(scale, int) else 1), "images": [],
        "checkpoint": "runs/mine/last.pt", **values,
    }  # fmt: skip
    Path(file).write_text(json.dumps(result))
    return Path(file)


def table(file, *cells):
    whole = [{"set": "DIV2K", "scale": 2, "row": "LIIF", "psnr": 34.0, **cell} for cell in cells]
    Path(file).write_text(json.dumps({"table": "1", "title": "one", "cells": whole}))
    return Path(file)


def record(kind, step, **values):
    return json.dumps({"kind": kind, "step": step, **values}) + "\n"


def run_folder(name, text):
    Path(name).mkdir(parents=True)
    (Path(name) / "metrics.jsonl").write_text(text)
    return Path(name)


def data(line):
    return [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


# Scores


def test_results_of_tests_become_lines(folder):
    files = [
        result_file("a.json", 4, 32.0),
        result_file("b.json", 2, 38.0),
        result_file("c.json", [2, 8], 30.0),
    ]
    files.append(result_file("d.json", 2, 35.0, checkpoint="edsr.pth", bicubic=28.0000001))
    points = read_points(files, "psnr")
    assert len(points) == 4 + 3  # bicubic at x2 is there twice, and the same
    figure = scores_figure(points, "PSNR (dB)")
    (axis,) = figure.axes
    assert axis.get_title() == "set5" and axis.get_ylabel() == "PSNR (dB)"
    mine, edsr, bicubic = axis.lines
    assert [line.get_label() for line in axis.lines] == ["mine", "edsr", "bicubic"]
    assert data(mine) == [(2, 38), (4, 32), (4, 30)] and data(edsr) == [(2, 35)]
    assert bicubic.get_color() == GRAY and bicubic.get_linestyle() == "--"
    assert len({line.get_color() for line in axis.lines}) == 3
    assert len({line.get_marker() for line in axis.lines}) == 3
    assert axis.get_xscale() == "log" and list(axis.get_xticks()) == [2, 4]
    assert [text.get_text() for text in figure.legends[0].texts] == ["mine", "edsr", "bicubic"]


def test_tables_have_a_panel_for_each_set_and_show_published_values():
    file = table(
        "t.json",
        {"published": 34.1, "trained": True},
        {"scale": 30, "psnr": 20.0, "published": None, "trained": False},
        {"row": "Bicubic", "psnr": 31.0},
        {"set": "Set5", "psnr": 38.0, "psnr_rgb": 36.0},
        {"row": "lost", "psnr": None},
        {"row": "worse", "psnr": math.nan},
    )
    points = read_points([file], "psnr")
    assert {p.line for p in points} == {"LIIF", "Bicubic"}
    figure = scores_figure(points, "PSNR (dB)")
    assert [axis.get_title() for axis in figure.axes] == ["DIV2K", "Set5"]
    line, beyond, published, bicubic = figure.axes[0].lines
    assert data(line) == data(beyond) == [(2, 34), (30, 20)]
    assert line.get_markevery() == [True, False] and beyond.get_markevery() == [False, True]
    assert beyond.get_markerfacecolor() != line.get_color() == beyond.get_markeredgecolor()
    assert data(published) == [(2, 34.1)] and published.get_fillstyle() == "none"
    assert data(bicubic) == [(2, 31)]
    labels = [text.get_text() for text in figure.legends[0].texts]
    assert labels == ["LIIF", "Bicubic", "beyond training", "published"]
    assert read_points([file], "psnr_rgb") == [Point("Set5", "LIIF", (2, 2), 36.0)]
    published = {"row": "RDN", "psnr": 33.0, "measured": 3, "images": 100, "published": 35.0}
    (rdn,) = read_points([table("u.json", published)], "psnr")
    assert math.isnan(rdn.value) and rdn.published == 35  # some images are no mean of a set
    figure = scores_figure([*points, rdn], "PSNR (dB)")
    assert [35.0] in [list(line.get_ydata()) for line in figure.axes[0].lines]
    both = read_points([Path("u.json"), table("v.json", {"row": "RDN", "psnr": 34.9})], "psnr")
    assert [(p.value, p.published) for p in both] == [(34.9, 35.0)]
    gains = over(points, "Bicubic")
    assert [(p.line, p.value, p.published) for p in gains] == [
        ("LIIF", 3.0, pytest.approx(3.1)),
    ]  # fmt: skip


def test_tick_labels_do_not_run_into_each_other():
    points = [Point("s", "l", (s, s), 1.0) for s in (2, 2.01, 3, 30, 29)]
    figure = scores_figure(points, "PSNR (dB)")
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["x2", "", "x3", "x29", ""]
    assert scores_figure(points[:1], "y").axes[0].get_xticklabels()[0].get_text() == "x2"
    uneven = scores_figure([Point("s", "l", (2, 3.5), 1.0)], "y").axes[0]
    assert uneven.get_xticklabels()[0].get_text() == "x2,3.5"


def test_checkpoints_are_told_apart():
    def lines(*checkpoints):
        files = [
            result_file(f"{i}.json", 2, 30.0 + i, checkpoint=c) for i, c in enumerate(checkpoints)
        ]
        return [p.line for p in read_points(files, "ssim")]

    assert lines("runs/a/last.pt", "runs/b/step-500.pt", "x/c.pth", "last.pt") == [
        "a", "b", "c", "last",
    ]  # fmt: skip
    assert lines("runs/a/last.pt", "runs/a/best.pt") == ["runs/a/last.pt", "runs/a/best.pt"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "damaged, or not a JSON file"),
        ('{"set": "Set5"', "damaged, or not a JSON file"),
        ("\xff\x00", "damaged, or not a JSON file"),
        ("[" * 100_000, "damaged, or not a JSON file"),
        ("[]", "not a result of `liif test --out` or `liif tables`"),
        ("null", "not a result of"),
        ("{}", "not a result of `liif test --out` or `liif tables`: set: Field required"),
        ('{"cells": 3}', "cells: "),
        ('{"cells": []}', "holds no psnr to draw"),
        ('{"cells": [{"set": 1, "scale": 2, "row": "a"}]}', "cells.0.set: "),
        ('{"cells": [{"set": "a", "scale": "2", "row": "a"}]}', "cells.0.scale.0: "),
        ('{"cells": [{"set": "a", "scale": 0, "row": "a"}]}', "cells.0.scale.0: "),
        ('{"cells": [{"set": "a", "scale": NaN, "row": "a"}]}', "cells.0.scale.0: "),
        ('{"cells": [{"set": "a", "scale": [2], "row": "a"}]}', "cells.0.scale: "),
        ('{"cells": [{"set": "a", "scale": 2, "row": "a"}]}', "holds no psnr to draw"),
        ('{"cells": [{"set": "a", "scale": 2, "row": "a", "psnr": Infinity}]}', "holds no psnr"),
        ('{"cells": [{"set": "a", "scale": 2, "row": "a", "psnr": true}]}', "cells.0.psnr: "),
    ],
)
def test_files_that_are_no_results(text, said):
    Path("r.json").write_bytes(text.encode("latin1"))
    message = refused("psnr", "r.json", "--out", "out.png")
    assert message.startswith("r.json: ") and said in message


def test_results_that_do_not_go_together():
    draw = ("psnr", result_file("a.json", 2, 38.0))
    assert "no.json: cannot be read: No such file" in refused(*draw, "no.json", "--out", "o.png")
    other = result_file("b.json", 2, 37.0)
    assert "b.json: psnr of mine on set5 x2 is 37.0000, but 38.0000" in refused(
        *draw, other, "--out", "o.png"
    )
    other = result_file("b.json", 3, 37.0, protocol="none")
    assert "b.json: set5 by protocol none, but by benchmark" in refused(*draw, other, "--out=o.png")
    rgb = refused(*draw, "--metric", "psnr_rgb", "--out", "o.png")
    assert rgb == "a.json: holds no psnr_rgb to draw"
    assert "--set DIV2K: not among the results: set5" in refused(
        *draw, "--out=o.png", "--set=DIV2K"
    )
    known = refused(*draw, "--over", "LIIF", "--out=o.png")
    assert known == "--over LIIF: not among the results: mine, bicubic"


def test_scores_are_drawn_as_png_and_pdf():
    files = [result_file(f"{s}.json", s, 40.0 - s) for s in (2, 3, 4)]
    outs = ("--out", "new/o.png", "--out", "o.PDF")
    plot("psnr", *files, *outs, "--set", "set5", "--metric", "psnr_y", "--over", "bicubic")
    assert pixels(Path("new/o.png").read_bytes()).std() > 5
    content = Path("o.PDF").read_bytes()
    assert content.startswith(b"%PDF") and content.rstrip().endswith(b"%%EOF")
    plot("psnr", *files, *outs, "--metric", "psnr_y", "--over", "bicubic")
    assert Path("o.PDF").read_bytes() == content


# Curves


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
    assert runs[1] == Run("$b", [], [(7, 0.5)], {}, {})
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
    assert "give the folder of a run" in refused("curves", "file", "--out", "o.png")
    good = record("train", 5, loss=0.5)
    for name, text, said in (
        ("a", "", "holds nothing to draw yet"),
        ("b", good[:9], "holds nothing to draw yet"),
        ("c", record("train", 5, loss=None), "holds nothing to draw yet"),
        ("d", "hello\n" + good, "line 1 is no record of a run"),
        ("e", good + "[1]\n" + good, "line 2 is no record of a run"),
        ("f", record("train", 5, loss="0.5") + good, "line 1 is no record of a run"),
    ):
        message = refused("curves", run_folder(name, text), "--out", "o.png")
        assert message.startswith(f"{name}/metrics.jsonl: ") and said in message


# Crops


@pytest.mark.parametrize("scale", [2, 2.7])
def test_crops_are_cut_from_the_whole_enlarged_image(tiny_checkpoint, scale):
    image, box = texture(50, 61), Box(11, 20, 16, 9)
    model = load(tiny_checkpoint)
    row = enlarged(image, scale, box, {"tiny": model}, Path("a.png"))
    lr, hr = reduce(image, (scale, scale), Path("a.png"))
    part = np.s_[20:29, 11:27]
    assert list(row.crops) == ["LR", "bicubic", "tiny", "HR"]
    assert np.array_equal(row.crops["HR"], image[part])
    bicubic = matlab_bicubic(lr, hr.shape[:2])[part]
    assert np.array_equal(row.crops["bicubic"], bicubic)
    nearest = Image.fromarray(lr).resize(hr.shape[1::-1], Image.Resampling.NEAREST)
    assert np.array_equal(row.crops["LR"], np.asarray(nearest)[part])
    if scale == 2:
        assert np.array_equal(row.crops["LR"], lr.repeat(2, 0).repeat(2, 1)[part])
    sr = model.upscale(to_tensor(lr), hr.shape[:2])
    assert np.array_equal(row.crops["tiny"], to_image(sr)[part])
    error = np.square(bicubic / 255 - image[part] / 255).mean()
    assert row.psnr["bicubic"] == pytest.approx(-10 * math.log10(error), abs=1e-4)
    error = np.square(sr[:, 20:29, 11:27].permute(1, 2, 0).numpy() - image[part] / 255).mean()
    assert row.psnr["tiny"] == pytest.approx(-10 * math.log10(error), abs=1e-4)


def test_every_pixel_of_a_crop_is_a_square_of_whole_pixels():
    image = texture(40, 60)
    scenes = []
    for box in (Box(3, 4, 32, 20), Box(0, 0, 33, 39)):
        crops = {name: box.cut(texture(40, 60, i)) for i, name in enumerate(("LR", "a$", "HR"))}
        rows = [Row(s, crops, {"a$": 20.0}) for s in (2, 3.5)]
        scenes.append(Scene("photo", image, box, rows))
    figure = crops_figure(scenes)
    drawn = pixels(rendered(figure, ".png"))
    H, W = drawn.shape[:2]
    assert tuple(round(DPI * inch) for inch in figure.get_size_inches()) == (W, H)
    axes = {axis.get_label(): axis for axis in figure.axes[-6:]}  # of the second scene
    assert list(axes) == [f"{name} x{s}" for s in ("2", "3.5") for name in ("LR", "a$", "HR")]
    zoom = 420 // 39
    for label, axis in axes.items():
        expected = scenes[1].rows[0].crops[label.split()[0]].repeat(zoom, 0).repeat(zoom, 1)
        at = axis.get_position()
        left, top = round(at.x0 * W), round((1 - at.y1) * H)
        part = drawn[top : top + expected.shape[0], left : left + expected.shape[1]]
        assert np.array_equal(part, expected)
        assert axis.images[0].get_interpolation() == "none"
    texts = [text.get_text() for text in figure.texts]
    assert texts[:4] == ["LR", "a$", "HR", "photo"] and texts.count("20.00 dB") == 4
    assert texts.count("x3.5") == 2 and texts[-1] == "Numbers: PSNR of the crop, RGB"
    (white, marked) = figure.axes[0].patches
    fit = figure.axes[0].images[0].get_array().shape[1] / 60
    assert marked.get_xy() == pytest.approx((3 * fit - 0.5, 4 * fit - 0.5))
    assert (marked.get_width(), marked.get_height()) == pytest.approx((32 * fit, 20 * fit))
    assert white.get_bbox().bounds == marked.get_bbox().bounds
    assert (drawn[:GAP_PX] == 255).all() and (drawn[:, -GAP_PX:] == 255).all()


def test_crops_by_command(photos, tiny_checkpoint):
    draw = ("crops", "--image", photos / "a.png", photos / "b.png", "--scales", "2,3.7")
    use = ("--checkpoint", tiny_checkpoint, f"ours={tiny_checkpoint}", "--device", "cpu")
    plot(*draw, *use, "--box", "0,0,8,8", "4,5,16,12", "--out", "o.pdf", "--out", "o.png")
    assert Path("o.pdf").read_bytes().startswith(b"%PDF")
    drawn = pixels(Path("o.png").read_bytes())
    corner = read_image(photos / "a.png")[0, 0]
    block = drawn[76 : 76 + 52, -24 - 416 : -24 - 416 + 52]  # HR is the last column
    assert (block == corner).all() and (drawn[76 + 52, -24 - 416] != corner).any()
    plot(*draw, *use, "--precision", "bf16", "--memory", "1M", "--out", "middle.png")


def test_crops_that_cannot_be(photos, tiny_checkpoint):
    draw = ("crops", "--image", photos / "a.png", "--out", "o.png", "--checkpoint")
    use = (*draw, tiny_checkpoint)
    outside = refused(*use, "--box", "50,0,11,8", "--scales", "2")
    assert "a.png: the box 50,0,11,8 reaches outside of the 60×40 px that x2 leaves" in outside
    assert "of the 56×40 px that x8 leaves" in refused(*use, "--box", "50,0,10,8")
    assert "of the 50×0 px that x50 leaves" in refused(*use, "--scales", "50")
    boxes = ("--box", "0,0,8,8", "0,0,8,8")
    assert "--box: 2 boxes for 1 images" in refused(*use, *boxes)
    assert "no.pt: no such checkpoint file" in refused(*draw, "LIIF=no.pt")
    for same in ((f"a={tiny_checkpoint}",) * 2, (f"HR={tiny_checkpoint}",), (tiny_checkpoint,) * 2):
        assert "every model needs a name of its own: NAME=FILE" in refused(*draw, *same)
    assert "no.png: cannot read the image" in refused(
        "crops", "--image", "no.png", "--checkpoint", tiny_checkpoint, "--out", "o.png"
    )
    Path("broken.png").write_bytes((photos / "a.png").read_bytes()[:200])
    assert "broken.png: cannot read the image" in refused(
        "crops", "--image", "broken.png", "--checkpoint", tiny_checkpoint, "--out", "o.png"
    )


@pytest.mark.parametrize(
    "box", ["1,2,3", "-1,0,2,2", "0,0,0,2", "a,b,c,d", "1.5,0,2,2", "", "²,0,2,2"]
)
def test_boxes_that_are_none(box):
    use = ("--image=a.png", "--checkpoint=c.pt", "--out=o.png", f"--box={box}")
    assert f"argument --box: {box}: must be X,Y,W,H" in refused("crops", *use)


@pytest.mark.parametrize("scales", ["0", "0.5", "nan", "inf", "2,,3", "", "two", "1e9"])
def test_scales_that_are_none(scales):
    use = ("--image=a.png", "--checkpoint=c.pt", "--out=o.png", f"--scales={scales}")
    assert f"argument --scales: {scales}: must be numbers from 1" in refused("crops", *use)


def test_a_figure_too_large_to_be_drawn():
    crop = np.zeros((7000, 100, 3), np.uint8)
    rows = [Row(s, {"LR": crop, "HR": crop}, {}) for s in range(10)]
    with pytest.raises(UserError, match="draw fewer images or scales, or smaller boxes"):
        crops_figure([Scene("a", crop, Box(0, 0, 100, 7000), rows)])


# Where it goes


def test_files_that_cannot_be_written():
    draw = ("psnr", result_file("a.json", 2, 38.0))
    for name in ("o.svg", "o", "o.png.txt"):
        said = refused(*draw, "--out", "fine.png", "--out", name)
        assert said == f"{name}: cannot draw this format; use one of .png .pdf"
    Path("file").write_text("mine")
    assert "file/o.png: cannot be written" in refused(*draw, "--out", "file/o.png")
    Path("folder.png").mkdir()
    assert "folder.png: is a folder" in refused(*draw, "--out", "folder.png")


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = refused("psnr", result_file("a.json", 2, 38.0), "--out", "o.png")
    assert said == 'drawing needs matplotlib: pip install "liif[plot]"'


def test_nothing_global_changes():
    def settings():
        return [matplotlib.rcParams[key] for key in STYLE]

    before = settings(), "matplotlib.pyplot" in sys.modules
    points = [Point("s", "l", (2, 2), 1.0), Point("s\udce9", r"$\frac$", (3, 3), 1.0)]
    rendered(scores_figure(points, "PSNR (dB)"), ".png")
    assert (settings(), "matplotlib.pyplot" in sys.modules) == before
