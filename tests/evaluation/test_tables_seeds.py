"""Rows of several trainings, and the columns about a row's model."""

import csv
import json
import math
import re
from pathlib import Path

import pytest
from evaluation.test_tables import cell, measured, result
from helpers.models import TINY

from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import read_checkpoint, save_checkpoint, save_weights

SEEDED = """\
title: Seeds
columns: [parameters, time, seeds]
seeds: [0, 1, 2]
sets: {mine: {config: ../mine.yaml}}
scales: [2]
rows:
  - name: Bicubic
  - {name: Any, config: any}
  - {name: One, config: fixed-x2, seeds: []}
"""
SECONDS = {0: 100.0, 1: 101.0, 2: 3603.0}


def save_run(name, seed, seconds=None):
    """A run's last.pt: weights of the seed, 4 steps."""
    config = ModelConfig.model_validate(TINY)
    training = {"step": 4, "seconds": seconds, "config": {"steps": 4, "seed": seed}}
    file = Path("runs") / name / "last.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(file, config, build_model(config, seed=seed).state_dict(), training)


@pytest.fixture
def seeded(table):
    """The table `t` with three seeds: two are trained, the last one is not."""
    Path("configs/tables/t.yaml").write_text(SEEDED)
    for seed in (0, 1):
        save_run(f"any-seed{seed}", seed, SECONDS[seed])
    return table


def test_the_scores_of_a_row_are_mean_and_deviation_of_its_trainings(cli, seeded):
    save_run("any-seed2", 2, SECONDS[2])
    save_run("fixed-x2", 5, 7.0)
    status, out, err = cli("tables", "--table", "t")
    assert (status, measured(err)) == (0, (3 * (1 + 3 + 1), 0))
    found = cell("Any")
    psnr = [each["psnr"] for each in found["trainings"]]
    mean = sum(psnr) / 3
    assert found["psnr"] == pytest.approx(mean) and len(set(psnr)) == 3
    assert found["psnr_std"] == pytest.approx(
        math.sqrt(sum((value - mean) ** 2 for value in psnr) / 2)
    )
    for metric in ("psnr_rgb", "psnr_y", "ssim"):
        each = [training[metric] for training in found["trainings"]]
        assert found[metric] == pytest.approx(sum(each) / 3)
    assert [each["seed"] for each in found["trainings"]] == found["seeds"] == [0, 1, 2]
    assert [each["seconds"] for each in found["trainings"]] == list(SECONDS.values())
    assert found["checkpoint"] is None and found["step"] is None
    assert (found["measured"], found["images"], found["seconds"]) == (3, 3, 1268)
    count = sum(p.numel() for p in build_model(ModelConfig.model_validate(TINY)).parameters())
    assert found["parameters"] == cell("One")["parameters"] == count
    lines = out.splitlines()
    assert lines[2:4] == [
        "| mine | | parameters | time | seeds | x2 |",
        "|---|---|--:|--:|--:|--:|",
    ]
    text = f"{mean:.2f} ± {found['psnr_std']:.2f}"
    assert f"| Any | ours | {count:,} | 0:21:08 | 3 | {text} |" in lines
    assert f"| One | ours | {count:,} | 0:00:07 | 1 | {cell('One')['psnr']:.2f} |" in lines
    assert f"| Bicubic | ours |  |  |  | {cell('Bicubic')['psnr']:.2f} |" in lines
    assert "standard deviation over the trainings of a row (n − 1)" in out
    for name in ("any-seed0", "any-seed1", "any-seed2", "fixed-x2"):
        assert re.search(rf"`runs/{name}/last.pt` \(sha256 \w+…, step 4 of 4\)", out)
    latex = Path("results/t.tex").read_text()
    assert r"\begin{tabular}{lrrrr}" in latex and "mine & parameters & time & seeds &" in latex
    shown = text.replace("±", r"$\pm$")
    assert rf"Any & {count:,} & 0:21:08 & 3 & {shown} \\" in latex
    rows = list(csv.DictReader(Path("results/t.csv").read_text().splitlines()))
    assert [row["seeds"] for row in rows] == ["", "0 1 2", ""]
    assert float(rows[1]["psnr_std"]) == found["psnr_std"] and "trainings" not in rows[1]


def test_a_seed_that_is_not_trained_is_named_and_counted(cli, seeded):
    _, out, _ = cli("tables", "--table", "t", "--rows", "any")
    found = cell("Any")
    first, second = (each["psnr"] for each in found["trainings"])
    assert found["psnr"] == pytest.approx((first + second) / 2)
    assert f"± {abs(first - second) / math.sqrt(2):.2f} (2 of 3 seeds) |" in out
    command = "liif train --config configs/any.yaml --set seed=2 --name any-seed2"
    assert f"- Any: train it with `{command}`" in out
    (Path("runs/any-seed1/last.pt")).unlink()
    _, out, _ = cli("tables", "--table", "t", "--rows", "any")
    assert "(1 of 3 seeds)" in out and "±" not in out
    assert "--name any-seed1 && liif train " in out
    assert cell("Any")["psnr"] == first and cell("Any")["psnr_std"] is None
    status, out, _ = cli("tables", "--table", "t", "--rows", "one")
    assert status == 1 and "| One | ours |  |  |  | – |" in out


def test_interrupted_trainings_are_no_whole_row(cli, seeded, monkeypatch):
    append, added = "liif.evaluation.measurements.MeasurementFile.append", []

    def interrupted(self, measurement):
        if len(added) == 4:
            raise KeyboardInterrupt
        added.append(measurement)

    text = SEEDED.replace("{name: Any,", "{name: Any, published: {mine: [30]},")
    Path("configs/tables/t.yaml").write_text(text)
    with monkeypatch.context() as patch:
        patch.setattr(append, interrupted)
        _, out, _ = cli("tables", "--table", "t", "--rows", "any")
    assert "(1 of 3 images) (2 of 3 seeds)" in out
    assert cell("Any")["measured"] == 1 and cell("Any")["difference"] is None
    cli("tables", "--table", "t", "--rows", "any")
    assert cell("Any")["difference"] == pytest.approx(cell("Any")["psnr"] - 30)


def test_a_training_of_another_seed_is_refused(cli, refused, seeded):
    save_run("any-seed2", 1)
    said = refused("tables", "--table", "t", "--rows", "any")
    assert said.startswith(
        "error: runs/any-seed2/last.pt: trained with seed 1, but row 'Any' needs"
    )
    assert said.endswith("seed 2; train it with --set seed=2 --name any-seed2\n")
    weights = read_checkpoint(Path("runs/any-seed2/last.pt"))
    save_weights(Path("w.safetensors"), weights.model, weights.weights)  # knows no seed
    given = ("--checkpoint", "any-seed2=w.safetensors")
    assert cli("tables", "--table", "t", "--rows", "any", *given)[0] == 0
    assert cell("Any")["seconds"] is None and cell("Any")["psnr_std"] > 0


def test_runs_of_seeds_are_listed_and_named(cli, refused, seeded):
    _, out, _ = cli("tables", "--table", "t", "--list")
    assert out.splitlines() == [
        *(f"any-seed{seed}\truns/any-seed{seed}/last.pt" for seed in (0, 1)),
        "any-seed2\tmissing",
        "fixed-x2\tmissing",
    ]
    said = refused("tables", "--table", "t", "--checkpoint", "any=runs/any/last.pt")
    assert "--checkpoint any: not in this table, which has any-seed0, any-seed1, any-seed2" in said


def test_a_table_without_the_columns_has_the_numbers_in_json(cli, table):
    _, out, _ = cli("tables", "--table", "t")
    assert "| mine | | x2 | x3 |" in out and "parameters" not in out
    found = cell("Any scale")
    assert found["parameters"] > 0 and found["seeds"] is found["trainings"] is None
    assert json.loads(Path("results/t.json").read_text())["cells"] == result()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            "[parameters, time",
            "[params, time",
            "columns.0: must be 'parameters', 'time' or",
        ),
        ("[0, 1, 2]", "[0, 0]", "seeds: [0, 0] has a seed twice"),
        ("[0, 1, 2]", "[-1]", "seeds.0: must be greater than or equal to 0, not -1"),
        ("name: One", "name: Any", "rows: two are named 'Any'"),
        (
            "sets: {",
            "sets: {again: {config: ../mine.yaml}, ",
            "sets 'again' and 'mine' have the same name, set: mine",
        ),
    ],
)
def test_wrong_tables_are_refused(refused, seeded, before, after, said):
    assert before in SEEDED
    Path("configs/tables/t.yaml").write_text(SEEDED.replace(before, after))
    assert said in refused("tables", "--table", "t")
    assert not Path("results").exists()
