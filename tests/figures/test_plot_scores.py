"""Plots of scores show the measured values."""

import json
import math
from pathlib import Path

import pytest
from helpers.plotting import data, pixels, plot, refused, result_file

from liif.evaluation.results import ScorePoint, differences, read_points
from liif.figures.scores import scores_figure
from liif.figures.style import GRAY

pytestmark = pytest.mark.usefixtures("folder")


def table(file, *cells):
    whole = [{"set": "DIV2K", "scale": 2, "row": "LIIF", "psnr": 34.0, **cell} for cell in cells]
    Path(file).write_text(json.dumps({"table": "1", "title": "one", "cells": whole}))
    return Path(file)


def test_results_of_liif_test_become_lines(folder):
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
    assert {p.method for p in points} == {"LIIF", "Bicubic"}
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
    assert read_points([file], "psnr_rgb") == [ScorePoint("Set5", "LIIF", (2, 2), 36.0)]
    published = {"row": "RDN", "psnr": 33.0, "measured": 3, "images": 100, "published": 35.0}
    (rdn,) = read_points([table("u.json", published)], "psnr")
    assert math.isnan(rdn.value) and rdn.published == 35  # some images are no mean of a set
    figure = scores_figure([*points, rdn], "PSNR (dB)")
    assert [35.0] in [list(line.get_ydata()) for line in figure.axes[0].lines]
    spread = {"row": "LTE", "psnr": 33.0, "psnr_std": 0.5, "scale": 3}
    (lte,) = read_points([table("w.json", spread)], "psnr")
    assert lte.deviation == 0.5
    (bars,) = scores_figure([lte], "PSNR (dB)").axes[0].collections
    assert [list(end) for end in bars.get_segments()[0]] == [[3, 32.5], [3, 33.5]]
    both = read_points([Path("u.json"), table("v.json", {"row": "RDN", "psnr": 34.9})], "psnr")
    assert [(p.value, p.published) for p in both] == [(34.9, 35.0)]
    gains = differences(points, "Bicubic")
    assert [(p.method, p.value, p.published) for p in gains] == [
        ("LIIF", 3.0, pytest.approx(3.1)),
    ]  # fmt: skip


def test_tick_labels_do_not_overlap():
    points = [ScorePoint("s", "l", (s, s), 1.0) for s in (2, 2.01, 3, 30, 29)]
    figure = scores_figure(points, "PSNR (dB)")
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["x2", "", "x3", "x29", ""]
    assert scores_figure(points[:1], "y").axes[0].get_xticklabels()[0].get_text() == "x2"
    uneven = scores_figure([ScorePoint("s", "l", (2, 3.5), 1.0)], "y").axes[0]
    assert uneven.get_xticklabels()[0].get_text() == "x2,3.5"


def test_checkpoints_have_distinct_names():
    def lines(*checkpoints):
        files = [
            result_file(f"{i}.json", 2, 30.0 + i, checkpoint=c) for i, c in enumerate(checkpoints)
        ]
        return [p.method for p in read_points(files, "ssim")]

    assert lines("runs/a/last.pt", "runs/b/step-500.pt", "x/c.pth", "last.pt") == [
        "a", "b", "c", "last",
    ]  # fmt: skip
    assert lines("runs/a/last.pt", "runs/a/best.pt") == ["runs/a/last.pt", "runs/a/best.pt"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a JSON file, or damaged"),
        ('{"set": "Set5"', "not a JSON file, or damaged"),
        ("\xff\x00", "not a JSON file, or damaged"),
        ("[" * 100_000, "not a JSON file, or damaged"),
        ("[]", "not a result of `liif test --output` or `liif tables`"),
        ("null", "not a result of"),
        ("{}", "not a result of `liif test --output` or `liif tables`: set: Field required"),
        ('{"cells": 3}', "cells: "),
        ('{"cells": []}', "there is no psnr to draw"),
        ('{"cells": [{"set": 1, "scale": 2, "row": "a"}]}', "cells.0.set: "),
        ('{"cells": [{"set": "a", "scale": "2", "row": "a"}]}', "cells.0.scale.0: "),
        ('{"cells": [{"set": "a", "scale": 0, "row": "a"}]}', "cells.0.scale.0: "),
        ('{"cells": [{"set": "a", "scale": NaN, "row": "a"}]}', "cells.0.scale.0: "),
        ('{"cells": [{"set": "a", "scale": [2], "row": "a"}]}', "cells.0.scale: "),
        ('{"cells": [{"set": "a", "scale": 2, "row": "a"}]}', "there is no psnr to draw"),
        ('{"cells": [{"set": "a", "scale": 2, "row": "a", "psnr": Infinity}]}', "there is no psnr"),
        ('{"cells": [{"set": "a", "scale": 2, "row": "a", "psnr": true}]}', "cells.0.psnr: "),
    ],
)
def test_files_that_are_not_results_are_refused(text, said):
    Path("r.json").write_bytes(text.encode("latin1"))
    message = refused("psnr", "r.json", "--out", "out.png")
    assert message.startswith("r.json: ") and said in message


def test_contradicting_results_are_refused():
    draw = ("psnr", result_file("a.json", 2, 38.0))
    assert "no.json: cannot be read: No such file" in refused(*draw, "no.json", "--out", "o.png")
    other = result_file("b.json", 2, 37.0)
    assert "b.json: psnr of mine on set5 x2 is 37.0000, but 38.0000" in refused(
        *draw, other, "--out", "o.png"
    )
    other = result_file("b.json", 3, 37.0, protocol="none")
    assert "b.json: set5 has protocol none, but benchmark" in refused(*draw, other, "--out=o.png")
    rgb = refused(*draw, "--metric", "psnr_rgb", "--out", "o.png")
    assert rgb == "a.json: there is no psnr_rgb to draw"
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
    plot("psnr", *files, *outs, "--overwrite", "--metric", "psnr_y", "--over", "bicubic")
    assert Path("o.PDF").read_bytes() == content
