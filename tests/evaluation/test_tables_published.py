"""The tables that come with the project, and the literature's numbers measured again."""

import json

import numpy as np
import pytest
import yaml
from helpers.paths import GOLDEN, ROOT
from helpers.pictures import texture

from liif.core.config_file import load_config
from liif.core.sizes import scale_text
from liif.data.pairs import Pair, open_pairs
from liif.evaluation.config import TestConfig
from liif.evaluation.evaluate import bicubic_score
from liif.evaluation.protocols import get_protocol
from liif.evaluation.table_config import TableConfig
from liif.images.resize import matlab_bicubic

TABLES = sorted((ROOT / "configs" / "tables").glob("*.yaml"))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_row_has_its_configurations_and_numbers(path):
    table = load_config(TableConfig, path)
    assert f"liif tables --table {path.stem}" in path.read_text()
    for row in table.rows:
        assert row.published.keys() <= table.sets.keys()
        for name, each in table.sets.items():
            scales = each.scales or table.scales
            assert len(row.published.get(name, ())) <= len(scales)
            first = f"scale={list(scales[0])}"
            load_config(TestConfig, path.parent / each.config, [first])
            texts = [scale_text(scale) for scale in scales]
            configs = {row.config and row.config.format(set=name, scale=s) for s in texts}
            there = {c for c in configs if c and (ROOT / "configs" / f"{c}.yaml").exists()}
            assert row.config is None or there


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_published_numbers_are_those_of_the_papers(path):
    """Every row of numbers is a copy of its source's, digit for digit."""
    papers = yaml.safe_load((GOLDEN / "published.yaml").read_text())
    table = load_config(TableConfig, path)
    for row in table.rows:
        for name, published in row.published.items():
            if row.config is None and name != "div2k":
                continue  # bicubic of the benchmark sets is measured below
            assert list(published) == papers[row.source or table.source][row.name][name]


# Bicubic as in the literature


def test_bicubic_of_set5_has_the_published_psnr(benchmark_data):
    folder = benchmark_data / "benchmark" / "Set5"
    for scale, published in ((2, 33.66), (3, 30.39), (4, 28.42)):
        pairs = open_pairs(folder / "HR", scale=(scale, scale), lr=folder / f"LR_bicubic/X{scale}")
        protocol = get_protocol("benchmark", (scale, scale))
        found = [bicubic_score(pair, (scale, scale), protocol).psnr for pair in pairs]
        assert round(sum(found) / len(found), 2) == published


def test_bicubic_score_under_an_rgb_protocol():
    hr = texture(24, 30)
    pair = Pair("p", matlab_bicubic(hr, (12, 15)), hr)
    found = bicubic_score(pair, (2, 2), get_protocol("none", (2, 2)))
    error = (matlab_bicubic(pair.lr, (24, 30)).astype(float) - hr) / 255
    assert found.psnr == found.psnr_rgb == pytest.approx(-10 * np.log10((error**2).mean()))
    assert found.lpips is None


def test_bicubic_of_degraded_images_enlarges_what_there_is():
    hr = texture(24, 30)
    pair = Pair("p", np.zeros((12, 15, 3), np.uint8), hr)
    protocol = get_protocol("benchmark", (2, 2))
    clean, degraded = (bicubic_score(pair, (2, 2), protocol, degraded=d) for d in (False, True))
    assert (
        degraded.psnr == degraded.psnr_y < 12 < clean.psnr and clean.psnr_rgb == degraded.psnr_rgb
    )


# The official weights


@pytest.mark.slow
def test_the_official_weights_in_the_table(
    cli, benchmark_data, official_weights, tmp_path, monkeypatch
):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("LIIF_DATA", str(benchmark_data))
    status, _, _ = cli(
        *("tables", "--table", "benchmark", "--sets", "set5", "--scales", 4, "--rows", "liif"),
        *("--checkpoint", f"edsr-liif={official_weights}"),
        *("--out", tmp_path),
    )
    cells = json.loads((tmp_path / "benchmark.json").read_text())["cells"]
    (ours,) = [c for c in cells if c["row"] == "EDSR-baseline-LIIF"]
    assert status == 0 and abs(ours["psnr"] - 32.2394) < 0.0005
    assert ours["trained"] and abs(ours["difference"]) < 0.01
