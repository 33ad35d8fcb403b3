"""What headers do not show: an image that turns out to be damaged is named, and the rest of the
work is done and written. Its kind of test for `liif test` is in test_test_data.py."""

import json
from pathlib import Path

import pytest
from evaluation.test_tables import cell

from liif.core.errors import UserError
from liif.core.files import write_all


def damage(name):
    data = Path(name).read_bytes()
    Path(name).write_bytes(data[: len(data) * 2 // 3])


def test_the_final_test_of_a_training(cli, training, photos):
    damage("photos/b.png")
    training.write_text(training.read_text().replace("images: photos", "images: builtin:test"))
    section = "test={images: photos, scales: [2, 3], protocol: none}"
    status, _, err = cli("train", "--config", training, "--set", section)
    assert status == 1 and "error: test: 1 of 3 images have no scores: " in err
    assert "photos/b.png: cannot read the image" in err.splitlines()[-1]
    found = json.loads(Path("runs/r/test.json").read_text())
    assert [(line["scale"], line["failed"]) for line in found] == [(2, ["b"]), (3, ["b"])]
    assert all(line["psnr"] > 0 for line in found)
    assert Path("runs/r/comparison.png").stat().st_size > 1000
    assert Path("runs/r/last.safetensors").exists()


def test_sizes_are_checked_before_the_first_step(refused, training, photos):
    for protocol, said in (("div2k", "drops 20 rows"), ("none", None)):
        section = f"test={{images: photos, scales: [14, 41], protocol: {protocol}}}"
        message = refused("train", "--config", training, "--set", section)
        assert (said or "a.png: 60×40 px is too small for scale 41") in message
    assert not list(Path("runs").glob("*/last.pt"))


def test_a_table(cli, table, photos):
    damage(photos / "b.png")
    status, out, err = cli("tables", "--table", "t", "--rows", "any")
    assert status == 1 and "error: images without scores in Any scale, mine x2; " in err
    assert "## Not measured" in out and "photos/b.png: cannot read the image" in out
    found = cell("Any scale")
    assert (found["measured"], found["images"]) == (2, 3) and "cannot read" in found["missing"]
    assert cell("Any scale", set_="faces")["missing"] is None
    assert cli("tables", "--table", "t", "--rows", "bicubic")[0] == 1
    assert cell("Bicubic")["measured"] == 2


def test_sizes_of_a_table_are_checked_before_the_work(refused, table, photos):
    Path("configs/mine.yaml").write_text(f"set: mine\nhr: {photos}\nprotocol: div2k\n")
    Path("configs/tables/t.yaml").write_text(
        "title: T\nsets: {mine: {config: ../mine.yaml}}\nscales: [2, 14]\nrows: [{name: Bicubic}]\n"
    )
    said = refused("tables", "--table", "t", "--sets", "mine")
    assert "a.png: 60×40 px" in said and "at scale 14" in said
    assert not Path("results/t.md").exists()


def test_one_of_several_files_cannot_be_written(tmp_path):
    (tmp_path / "a").mkdir()
    names = [tmp_path / "a" / "x.md", tmp_path / "file" / "x.csv", tmp_path / "a" / "x.json"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/x\.csv: cannot be written"):
        write_all(dict.fromkeys(names, b"text"))
    assert names[0].read_bytes() == names[2].read_bytes() == b"text"
