"""How sure the numbers of a table are: intervals, the order of its rows, protocol and data."""

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from evaluation.test_tables import cell, measured
from evaluation.test_tables_seeds import save_run

from liif.evaluation.bootstrap import (
    interval,
    paired_difference,
    resampled_means,
    training_interval,
)

RECIPE = """\
title: Unequal scales
sets: {mine: {config: ../between.yaml}}
scales: [1.5, [2, 1.5]]
seeds: [0, 1, 2]
rows:
  - {name: Bicubic, published: {mine: [20.5, 21]}, note: of another recipe}
  - {name: Any, config: any, trained: [1, 1.6]}
"""


@pytest.fixture
def between(table, photos):
    """The table `t` of a scale in between and an unequal one, by a recipe, with three seeds."""
    Path("configs/tables/t.yaml").write_text(RECIPE)
    Path("configs/between.yaml").write_text("base: mine.yaml\nlr_recipe: arbsr\n")
    for seed in (0, 1, 2):
        save_run(f"any-seed{seed}", seed)
    return table


def test_scales_in_between_and_unequal_ones_are_measured_by_a_recipe(cli, between, photos):
    status, out, err = cli("tables", "--table", "t")
    assert (status, measured(err)) == (0, (3 * (2 + 6), 0))
    assert "| mine | | x1.5 | x2×1.5 |" in out.splitlines()
    found = cell("Any", [2, 1.5])
    assert (found["lr"], found["trained"], cell("Any", 1.5)["trained"]) == ("arbsr", False, True)
    folder = photos.resolve()
    cli("data", "lr", str(folder), "--recipe", "arbsr", "--scale", "2x1.5", "-o", "lr")
    manifest = json.loads(Path("lr/X2.00_1.50/manifest.json").read_text())
    assert found["lr_sha256"] == cell("Bicubic", [2, 1.5])["lr_sha256"] == manifest["sha256"]
    assert found["lr_sha256"] != cell("Any", 1.5)["lr_sha256"] != found["data_sha256"]
    asked = ("--config", "configs/between.yaml", "--set", "scale=[2,1.5]", "-o", "one.json")
    cli("test", *asked, "--checkpoint", "runs/any-seed1/last.pt")
    alone = json.loads(Path("one.json").read_text())
    assert alone["lr_sha256"] == found["lr_sha256"]
    assert found["trainings"][1]["psnr"] == pytest.approx(alone["psnr"], abs=1e-9)
    # Bicubic of the same images, as `liif test` has it.
    assert cell("Bicubic", [2, 1.5])["psnr"] == pytest.approx(alone["bicubic"], abs=1e-6)
    assert measured(cli("tables", "--table", "t", "--scales", "2x1.5")[2]) == (0, 12)
    Path("configs/between.yaml").write_text("base: mine.yaml\nlr_recipe: liif\n")
    assert measured(cli("tables", "--table", "t")[2]) == (24, 0)


def test_every_number_has_its_protocol_its_data_and_its_interval(cli, between):
    _, out, _ = cli("tables", "--table", "t")
    bicubic, ours = cell("Bicubic", 1.5), cell("Any", 1.5)
    data = [cell("Any", scale)["lr_sha256"][:8] for scale in (1.5, [2, 1.5])]
    assert len(set(data)) == 2
    assert f"| protocol `benchmark` | data | `{data[0]}` | `{data[1]}` |" in out.splitlines()
    assert rf"\tiny benchmark, data & \tiny {data[0]} & \tiny {data[1]} \\" in (
        Path("results/t.tex").read_text()
    )
    assert ours["badge"] == f"liif-benchmark {data[0]}" == bicubic["badge"]
    assert ours["definition"] == "psnr colour=y-edsr border=s"
    assert "benchmark is `psnr colour=y-edsr border=s`" in out
    assert len(ours["image_names"]) == 3 == len(ours["image_psnr"])
    assert ours["psnr"] == pytest.approx(statistics.mean(ours["image_psnr"]), abs=1e-5)
    trainings = [each["psnr"] for each in ours["trainings"]]
    half = 4.303 * statistics.stdev(trainings) / 3**0.5  # Student's t, two degrees of freedom
    assert ours["seeds_low"] == pytest.approx(ours["psnr"] - half)
    assert ours["psnr_low"] < ours["psnr"] < ours["psnr_high"]
    assert bicubic["psnr_low"] == pytest.approx(min(bicubic["image_psnr"]), abs=0.5)
    assert bicubic["seeds_low"] is None and "95 % over trainings" in out
    (each, _) = json.loads(Path("results/t.json").read_text())["comparisons"]
    assert (each["set"], each["scale"], each["neighbours"]) == ("mine", 1.5, True)
    assert (each["better"], each["worse"]) == ("Bicubic", "Any")  # without training
    assert each["difference"] == pytest.approx(bicubic["psnr"] - ours["psnr"])
    expected = np.subtract(bicubic["image_psnr"], ours["image_psnr"])
    assert each["wins"] == (expected > 0).sum() and each["images"] == 3
    assert each["low"] <= each["difference"] <= each["high"] and each["stability"] > 0.9
    shown = f"| mine | x1.5 | Bicubic | Any | {each['difference']:.2f} | "
    assert shown in out and f"| 3 of 3 | {each['stability']:.1%} |" in out


def test_without_all_images_there_is_no_interval(cli, between, monkeypatch):
    append, added = "liif.evaluation.measurements.MeasurementFile.append", []

    def interrupted(self, measurement):
        if len(added) == 2:
            raise KeyboardInterrupt
        added.append(measurement)

    with monkeypatch.context() as patch:
        patch.setattr(append, interrupted)
        _, out, _ = cli("tables", "--table", "t", "--rows", "bicubic", "--scales", "1.5")
    assert "(2 of 3 images)" in out and "How sure" not in out
    found = cell("Bicubic", 1.5)
    assert found["psnr_low"] is found["image_psnr"] is found["lr_sha256"] is None


def test_a_set_of_many_scales_has_several_tables(cli, between):
    scales = [1.5, 1.55, 1.6, 1.65, 1.7, 1.75, 1.8, 1.85, 1.9, 1.95, 2]
    text = RECIPE.replace("[1.5, [2, 1.5]]", str(scales)).replace(", 21]", "]")
    Path("configs/tables/t.yaml").write_text(text)
    _, out, _ = cli("tables", "--table", "t", "--rows", "bicubic")
    heads = [line for line in out.splitlines() if line.startswith("| mine | | x")]
    assert [line.count("| x") for line in heads] == [6, 5] and heads[1].endswith("| x2 |")
    assert "low-resolution images: arbsr\n" in out


def test_pictures_that_are_equally_hard_leave_no_doubt():
    generator = np.random.default_rng(1)
    first = generator.normal(30, 3, 40)
    same = paired_difference(first, first + 0.1)
    assert (same.low, same.high) == pytest.approx((0.1, 0.1)) and same.stability == 1
    assert same.wins == 40
    change = generator.normal(0.1, 1, 40)
    other = paired_difference(first, first + change)
    # As the normal approximation has it: 1.96 standard errors on either side.
    assert other.high - other.low == pytest.approx(2 * 1.96 * change.std() / 40**0.5, rel=0.05)


def test_trainings_are_drawn_beside_images():
    scores = np.array([[30.0] * 20, [31.0] * 20])
    assert interval(resampled_means(scores[:1])) == (30, 30)
    assert interval(resampled_means(scores)) == (30, 31)  # both trainings the same: 1 in 4
    assert training_interval([30, 31]) == pytest.approx((30.5 - 6.353, 30.5 + 6.353))
    assert training_interval([30]) is None
