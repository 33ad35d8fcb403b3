"""`liif upscale` a second time: what is done, what is stale and why, and own results as inputs."""

import os
import shutil
from pathlib import Path

import pytest
from helpers.pictures import texture
from PIL import Image

from liif.images.origin import read_record
from liif.images.rgb8 import write_image
from liif.images.suffixes import TARGETS
from liif.models.build import build_model
from liif.models.checkpoint import read_checkpoint, save_checkpoint


@pytest.fixture
def up(cli, tiny_checkpoint, folder):
    """`liif upscale` of pictures in an empty folder: (status, messages)."""
    shutil.copy(tiny_checkpoint, "model.pt")

    def run(*options):
        given = ("--precision", "float32") if "--precision" not in options else ()
        status, _, err = cli("upscale", *options, "--checkpoint", "model.pt", *given)
        return status, err

    return run


def picture(name, seed=0, height=6, width=8):
    write_image(Path(name), texture(height, width, seed))


def make_older(name, seconds=100):
    time = os.stat(name).st_mtime - seconds
    os.utime(name, (time, time))


@pytest.mark.parametrize("suffix", TARGETS)
def test_a_result_of_the_same_making_is_done_in_every_format(up, suffix):
    picture("a.png")
    make_older("a.png")
    to = ("a.png", "-o", f"out/{{stem}}{suffix}", "-s", "2")
    assert up(*to)[0] == 0
    written = os.stat(f"out/a{suffix}").st_mtime_ns
    status, err = up(*to)
    assert status == 0 and "1 of 1 exist already and were skipped" in err
    assert os.stat(f"out/a{suffix}").st_mtime_ns == written


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-s", "3"], "has 16×12 px instead of 24×18"),
        (["--size", "16x12", "--fit", "stretch"], None),
        (["-s", "4", "--crop", "0,0,4,3"], "shows another part of the picture"),
        (["-s", "2", "--quality", "50"], "was made with quality by default instead of 50"),
        (["-s", "2", "--precision", "auto"], "was made with precision float32 instead of auto"),
        (["-s", "2", "--self-ensemble"], "was made with self_ensemble by default instead of True"),
        (["-s", "2", "--clip-cell", "3"], "was made with clip_cell by default instead of 3.0"),
        (["-s", "2", "--bits", "8"], "was made with bits by default instead of 8"),
        (["-s", "2", "--memory", "100M"], None),
    ],
)
def test_a_result_of_another_making_is_stale(up, options, said):
    picture("in/a.jpg")
    make_older("in/a.jpg")
    assert up("in", "-o", "out", "-s", "2")[0] == 0
    before = Path("out/a.jpg").read_bytes()
    status, err = up("in", "-o", "out", *options)
    if said is None:
        assert status == 0 and "skipped" in err
    else:
        assert status == 1 and f"out/a.jpg: exists already, but {said}" in err
        assert "; --overwrite replaces it" in err
    assert Path("out/a.jpg").read_bytes() == before
    assert up("in", "-o", "out", *options, "--overwrite")[0] == 0
    status, err = up("in", "-o", "out", *options)
    assert status == 0 and "1 of 1 exist already" in err


def test_a_changed_input_model_or_an_unknown_file_is_stale(up):
    picture("in/a.png")
    make_older("in/a.png")
    again = ("in", "-o", "out", "-s", "2")
    assert up(*again)[0] == 0
    make_older("in/a.png", -1000)
    assert "out/a.png: exists already, but is older than a.png" in up(*again)[1]
    picture("in/a.png", seed=5)
    make_older("in/a.png", 1000)
    assert "out/a.png: exists already, but was made from another a.png" in up(*again)[1]
    assert up(*again, "--overwrite")[0] == 0 and up(*again)[0] == 0
    config = read_checkpoint(Path("model.pt")).model
    save_checkpoint(Path("model.pt"), config, build_model(config, seed=7).state_dict())
    assert "out/a.png: exists already, but was made with another model" in up(*again)[1]
    picture("out/a.png")
    status, err = up(*again)
    assert status == 1 and "but nothing in it says what made it" in err


def test_own_results_are_passed_over_and_others_are_not(up):
    for name in ("a.png", "b.jpg", "sub/c.webp"):
        picture(name)
    assert up(".", "-s", "2")[0] == 0
    status, err = up(".", "-s", "3")
    assert status == 0 and "passed over as results of these pictures: 3 (a-x2.png, " in err
    names = {str(p) for p in Path().rglob("*-x*")}
    results = {f"{stem}-x{s}{end}" for stem, end in (("a", ".png"), ("b", ".jpg")) for s in "23"}
    assert names == {*results, "sub/c-x2.webp", "sub/c-x3.webp"}
    picture("a.png", seed=3)  # its results are still its own
    assert up("a.png", "a-x2.png", "a-x3.png", "-s", "1.5")[0] == 0  # as a shell expands a*.png
    assert {str(p) for p in Path().glob("a-x*-x*")} == set()
    assert up("a-x2.png", "-s", "2")[0] == 0  # asked for by itself
    assert Image.open("a-x2-x2.png").size == (32, 24)
    assert up("sub", "-o", "first", "-s", "2")[0] == 0
    assert up("first", "-o", "second", "-s", "2")[0] == 0
    assert Image.open("second/c.webp").size == (32, 24)
    status, err = up("sub", "first", "-o", "third", "-s", "2")
    assert status == 0 and os.listdir("third") == ["c.webp"] and "passed over" in err


def test_another_picture_of_the_name_of_a_result_is_kept(up):
    picture("a.png"), picture("a-x2.png", seed=9)
    before = Path("a-x2.png").read_bytes()
    for more in ((), ("--overwrite",)):
        status, err = up(".", "-s", "2", *more)
        assert status == 1 and "a-x2.png: is an input" in err
        assert Path("a-x2.png").read_bytes() == before
        assert Path("a-x2-x2.png").exists()


def test_a_record_tells_no_names(up):
    picture("private name.png")
    assert up("private name.png", "-o", "x.png", "-s", "2")[0] == 0
    record = read_record(Path("x.png"))
    assert record["size"] == [16, 12] and record["scale"] == [2, 2] and len(record["model"]) == 16
    assert b"private" not in Path("x.png").read_bytes()
