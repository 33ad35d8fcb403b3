"""The paper's tables: what is measured, what it says, ours beside the published."""

import csv
import json
import re
from pathlib import Path

import pytest

from liif.commands import tables as command
from liif.core.config_file import load_config
from liif.evaluation.config import TestConfig


def result(name="t"):
    return json.loads(Path(f"results/{name}.json").read_text())["cells"]


def cell(row, scale=2, set_="mine"):
    """The one cell of the last result that this names."""
    (found,) = [c for c in result() if (c["row"], c["scale"], c["set"]) == (row, scale, set_)]
    return found


def measured(err):
    """Images that a run measured and those that it knew, by its own account."""
    return tuple(map(int, re.search(r"(\d+) images to measure, (\d+) known", err).groups()))


def test_ours_beside_the_published(cli, table, photos):
    status, out, err = cli("tables", "--table", "t")
    assert (status, measured(err)) == (0, (3 * (3 + 3 + 1), 0))
    assert cell("Bicubic")["published"] == 20.5 and cell("Bicubic", 3)["published"] is None
    ours = cell("Any scale", 3)
    config = load_config(TestConfig, Path("configs/mine.yaml"), ["scale=3"])
    cli(
        *("test", "--config", "configs/mine.yaml", "--set", "scale=3"),
        *("--checkpoint", "runs/any/last.pt", "--out", "one.json"),
    )
    alone = json.loads(Path("one.json").read_text())
    for key in ("psnr", "psnr_rgb", "psnr_y", "ssim"):
        assert ours[key] == pytest.approx(alone[key], abs=1e-9)
    assert ours["psnr"] == ours["psnr_y"] != ours["psnr_rgb"] and config.protocol == "benchmark"
    assert ours["difference"] == pytest.approx(ours["psnr"] - 29.25)
    assert (ours["images"], ours["measured"], ours["lr"]) == (3, 3, "pillow-bicubic")
    assert ours["checkpoint"] == "runs/any/last.pt" and len(ours["checkpoint_sha256"]) == 64
    assert not ours["trained"] and cell("Any scale")["trained"]
    assert cell("Any scale")["published_source"] == "Somebody 2020"
    lines = out.splitlines()
    shown = f"| Any scale | ours | {cell('Any scale')['psnr']:.2f} | {ours['psnr']:.2f}* |"
    assert shown in lines and "|  | published | 30.00 | 29.25 |" in lines
    assert f"|  | difference | {cell('Any scale')['difference']:+.2f} | " in out
    assert r"\* outside the scales of its training." in lines
    assert "train it with `python scripts/train.py --config configs/fixed-x2.yaml`" in out
    assert Path("results/t.md").read_text().strip() == out.strip()


def test_a_network_of_one_scale_has_cells_at_its_own_only(cli, table):
    cli("tables", "--table", "t")
    found = [(c["set"], c["scale"]) for c in result() if c["row"] == "Fixed"]
    assert found == [("mine", 2), ("faces", 2)]


def test_csv_and_latex(cli, table):
    cli("tables", "--table", "t")
    lines = list(csv.DictReader(Path("results/t.csv").read_text().splitlines()))
    assert [(line["row"], line["set"], float(line["scale"])) for line in lines] == [
        (c["row"], c["set"], c["scale"]) for c in result()
    ]
    assert float(lines[3]["psnr"]) == cell("Any scale")["psnr"] and lines[3]["published"] == "30.0"
    text = Path("results/t.tex").read_text()
    assert r"Ours \& theirs" in text or text.startswith("% Ours & theirs")
    ours = cell("Any scale", 3)["psnr"]
    assert (
        rf"Any scale & {cell('Any scale')['psnr']:.2f} (30.00) & {ours:.2f}$^*$ (29.25) \\" in text
    )
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") == 2


def test_the_means_are_said(cli, table):
    cli("tables", "--table", "t", "--rows", "any scale", "--round", "--self-ensemble")
    assert cell("Any scale")["options"] == {"self_ensemble": True, "round": True}
    assert '"self_ensemble": true' in Path("results/t.md").read_text()
    cli("tables", "--table", "t", "--rows", "lanczos")
    assert cell("Then Lanczos")["options"] == {"lanczos_from": 2}


def test_only_what_is_asked_for(cli, table):
    _, _, err = cli("tables", "--table", "t", "--sets", "mine", "--scales", "x3", "--rows", "BICUB")
    assert measured(err) == (3, 0)
    assert [(c["row"], c["set"], c["scale"]) for c in result()] == [("Bicubic", "mine", 3)]


def test_listing(cli, table):
    _, out, _ = cli("tables", "--table", "t", "--list")
    assert out.splitlines() == ["any\truns/any/last.pt", "fixed-x2\tmissing"]
    assert not Path("results").exists()


def test_a_further_score(cli, table, monkeypatch):
    monkeypatch.setattr(command, "lpips_score", lambda device: lambda sr, hr, how: 0.25)
    _, out, _ = cli("tables", "--table", "t", "--lpips", "--sets", "mine")
    assert "| LPIPS |" in out and cell("Any scale")["lpips"] == cell("Bicubic")["lpips"] == 0.25
