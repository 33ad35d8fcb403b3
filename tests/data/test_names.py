"""Evaluation sets as other people's tools made them: names, cases, suffixes and sizes."""

from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import texture

from liif.core.errors import UserError
from liif.data.names import read_name
from liif.data.pairs import match_pairs, open_pairs
from liif.images.rgb8 import write_image
from liif.training.config import TrainConfig


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Canon_001_LR4.png", ("canon_001", "lr", 4)),
        ("Canon_001_HR.png", ("canon_001", "hr", None)),
        ("0001x4m.png", ("0001", None, 4)),
        ("0001x4d.png", ("0001", None, 4)),
        ("0001x4w3.png", ("0001", None, 4)),
        ("img_001_SRF_4_LR.png", ("img_001", "lr", 4)),
        ("sub/img_001_SRF_4_HR.PNG", ("sub/img_001", "hr", 4)),
        ("baby_GT.bmp", ("baby", "hr", None)),
        ("baby-lr-x2.5.png", ("baby", "lr", 2.5)),
        ("Baby_LRBICx3.png", ("baby", None, 3)),
        ("comic_4x.png", ("comic", None, 4)),
        ("img_001.png", ("img_001", None, None)),
        ("x4.png", ("x4", None, None)),
        ("_HR.png", ("_hr", None, None)),
        ("maxx.png", ("maxx", None, None)),
        ("HR.png", ("hr", None, None)),
    ],
)
def test_what_names_say(name, expected):
    assert tuple(read_name(name)) == expected


HR = ["0001", "0002", "0010"]
SETS = {
    "RealSR": ("{}_LR4.png", "{}_HR.png"),
    "DIV2K, mild": ("{}x4m.png", "{}.png"),
    "DIV2K, difficult": ("{}x4d.png", "{}.png"),
    "SRF": ("img_{}_SRF_4_LR.png", "img_{}_SRF_4_HR.png"),
    "one side": ("{}_lr.png", "{}.png"),
    "other side": ("{}.png", "{}_GT.png"),
    "cases": ("IMG{}X4.PNG", "img{}.png"),
    "suffixes": ("{}x4.jpg", "{}.BMP"),
    "bicubic": ("{}_bicubic_x4.png", "{}.png"),
}


@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
@pytest.mark.parametrize("place", ["two folders", "one folder"])
def test_usual_sets(tmp_path, names, place):
    lr, hr = (tmp_path, tmp_path) if place == "one folder" else (tmp_path / "L", tmp_path / "H")
    if place == "one folder" and names == SETS["other side"]:
        pytest.skip("0001.png beside 0001_GT.png says too little")
    for seed, name in enumerate(HR):
        write_image(hr / names[1].format(name), texture(40, 48, seed))
        write_image(lr / names[0].format(name), texture(10, 12, 9 + seed))
    pairs = list(open_pairs(hr, scale=(4, 4), lr=lr))
    for seed, pair in enumerate(pairs):
        assert pair.hr.shape == (40, 48, 3) and pair.lr.shape == (10, 12, 3)
        assert HR[seed] in pair.name
        if names[0].endswith(".png"):
            assert np.array_equal(pair.lr, texture(10, 12, 9 + seed))
            assert np.array_equal(pair.hr, texture(40, 48, seed))
    assert len(pairs) == 3


def test_the_scale_selects_among_several(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}_HR.png", texture(24, 24))
        for scale in (2, 3, 4):
            write_image(tmp_path / f"{name}_LR{scale}.png", texture(24 // scale, 24 // scale))
    for scale in (2, 3, 4):
        pairs = open_pairs(tmp_path, scale=(scale, scale), lr=tmp_path)
        assert [path.name for path in pairs.lr] == [f"a_LR{scale}.png", f"b_LR{scale}.png"]
    with pytest.raises(UserError, match=r"not every image has one partner at scale 5 "):
        open_pairs(tmp_path, scale=(5, 5), lr=tmp_path)


@pytest.mark.parametrize("pattern", ["{}-small", "small.{}", "{}x2-{scale}"])
def test_a_pattern(tmp_path, pattern):
    for name in ("a", "b.c", "sub/d"):
        write_image(tmp_path / "H" / f"{name}.png", texture(20, 20))
        given = Path(name).name.join(pattern.replace("{scale}", "2").split("{}"))
        write_image(tmp_path / "L" / Path(name).parent / f"{given}.png", texture(10, 10))
    pairs = open_pairs(tmp_path / "H", scale=(2, 2), lr=tmp_path / "L", lr_name=pattern)
    assert len(pairs) == 3
    with pytest.raises(UserError, match="3 without a partner"):
        open_pairs(tmp_path / "H", scale=(2, 2), lr=tmp_path / "L", lr_name="{}_no")


def test_a_pattern_in_configurations(refused, scoring, cli):
    for name, size in (("a", (20, 30)), ("b", (22, 25)), ("c", (24, 24))):
        write_image(Path(f"lr/small.{name}.png"), texture(*size))
    use = ("test", "--config", scoring, "--set", "lr=lr", "--set")
    assert cli(*use, "lr_name='small.{}'")[0] == 0
    assert "lr_name: '{}x2'" in refused(*use, "lr_scales=[2]")
    for wrong in ("small", "'{}/{}'", "3"):
        assert "lr_name: must be a name with {}" in refused(*use, f"lr_name={wrong}")


def test_training_pairs(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / "H" / f"{name}_HR.png", texture(40, 40))
        write_image(tmp_path / "L" / f"{name}_LR2.png", texture(20, 20))
    data = {"sampling": "pairs", "lr": "L", "hr": "H", "patch": 8, "queries": 8, "cache": "none"}
    model = {"encoder": {"name": "edsr-baseline"}, "decoder": {"name": "liif"}}
    config = TrainConfig.model_validate({"model": model, "train_data": data})
    assert len(config.train_data.open_source(str(tmp_path))) == 2
    data["lr_name"] = "{}_no"
    config = TrainConfig.model_validate({"model": model, "train_data": data})
    with pytest.raises(UserError, match="without a partner"):
        config.train_data.open_source(str(tmp_path))


@pytest.mark.parametrize("size", [(10, 13), (11, 13), (10, 14), (11, 14)])
def test_sizes_rounded_down_or_up(tmp_path, size):
    """43 / 4 and 54 / 4; the part that both cover is scored."""
    write_image(tmp_path / "H/a.png", texture(43, 54))
    small = texture(*size, seed=3)
    write_image(tmp_path / "L/a.png", small)
    (pair,) = open_pairs(tmp_path / "H", scale=(4, 4), lr=tmp_path / "L")
    assert np.array_equal(pair.lr, small[:10, :13])
    assert np.array_equal(pair.hr, texture(43, 54)[:40, :52])
    (pair,) = open_pairs(tmp_path / "H", scale=(4, 4), lr=tmp_path / "L", crop=24)
    assert pair.hr.shape == (24, 24, 3) and pair.lr.shape == (6, 6, 3)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((40, 48), "both have the same size, so they are a set for scale 1"),
        ((20, 24), "needs 10×12 px|needs 12×10 px; it is 2 times as small"),
        ((9, 12), "needs 12×10 px"),
    ],
)
def test_other_sizes_are_explained(tmp_path, size, said):
    write_image(tmp_path / "H/a.png", texture(40, 48))
    write_image(tmp_path / "L/a.png", texture(*size))
    with pytest.raises(UserError, match=said):
        open_pairs(tmp_path / "H", scale=(4, 4), lr=tmp_path / "L")


def test_a_folder_of_both_kinds_is_not_taken_for_one(tmp_path, refused, tiny_checkpoint, cli):
    write_image(tmp_path / "R/a_HR.png", texture(40, 48))
    write_image(tmp_path / "R/a_LR2.png", texture(20, 24))
    said = refused("test", "--data", tmp_path / "R", "-s", "2")
    assert "a_LR2.png and a_HR.png" in said and "--lr" in said
    use = ("--checkpoint", tiny_checkpoint, "-s", "2")
    assert cli("test", "--data", tmp_path / "R", "--lr", tmp_path / "R", *use)[0] == 0
    write_image(tmp_path / "S/HR/a.png", texture(40, 48))
    write_image(tmp_path / "S/LR_bicubic/X2/ax2.png", texture(20, 24))
    assert "such as LR_bicubic and HR" in refused("test", "--data", tmp_path / "S", "-s", "2")
    small = tmp_path / "S/LR_bicubic/X{scale}"
    assert cli("test", "--data", tmp_path / "S/HR", "--lr", small, *use)[0] == 0


def test_names_that_only_look_alike_are_no_pairs():
    names = [f"{name}.png" for name in ("a_x2", "b")]
    with pytest.raises(UserError, match="do not match"):
        match_pairs(names, ["a.png", "c.png"], Path("L"), Path("H"))
    assert match_pairs(["a_HR.png"], ["a_HR.png"], Path("L"), Path("H")) == [(0, 0)]
    several = ["a_LR2.png", "a_LR3.png"]
    with pytest.raises(UserError, match="do not match"):
        match_pairs(several, ["a_HR.png"], Path("L"), Path("H"))
    assert match_pairs(several, ["a_HR.png"], Path("L"), Path("H"), scale=3) == [(1, 0)]
