"""`liif tables` on one set, clean and degraded."""

from pathlib import Path

import pytest
from evaluation.test_tables import cell, measured

DEGRADED = """\
title: Clean and degraded
sets: {mine: {config: ../mine.yaml}, bad: {config: ../bad.yaml}}
scales: [2]
rows:
  - name: Bicubic
  - {name: Any, config: any}
"""


@pytest.fixture
def degraded(table, photos):
    """The table `t` of one set twice, the second time degraded as in Real-ESRGAN."""
    Path("configs/tables/t.yaml").write_text(DEGRADED)
    Path("configs/bad.yaml").write_text("base: mine.yaml\nset: bad\ndegrade: real-esrgan\n")
    return table


def test_scores_of_a_degraded_set_are_its_own(cli, degraded):
    status, out, err = cli("tables", "--table", "t")
    assert (status, measured(err)) == (0, (12, 0))
    for row in ("Bicubic", "Any"):
        clean, bad = cell(row), cell(row, 2, "bad")
        assert (clean["lr"], bad["lr"]) == ("pillow-bicubic", "real-esrgan")
        assert clean["psnr"] != bad["psnr"] and clean["data_sha256"] != bad["data_sha256"]
    assert cell("Bicubic")["psnr"] > cell("Bicubic", 2, "bad")["psnr"] + 1
    assert "low-resolution images: x2 real-esrgan\n" in out
    assert measured(cli("tables", "--table", "t")[2]) == (0, 12)


def test_another_degradation_or_name_is_measured_again(cli, degraded, photos):
    """What is random in a degradation depends on the image's name."""
    cli("tables", "--table", "t")
    before = cell("Bicubic", 2, "bad")["psnr"]
    (photos / "a.png").rename(photos / "z.png")
    assert measured(cli("tables", "--table", "t")[2]) == (2, 10)
    assert cell("Bicubic", 2, "bad")["psnr"] != before
    Path("configs/bad.yaml").write_text("base: mine.yaml\nset: bad\ndegrade: area\n")
    assert measured(cli("tables", "--table", "t")[2]) == (6, 6)
