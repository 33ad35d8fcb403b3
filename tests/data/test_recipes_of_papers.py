"""Low-resolution sets by the recipes of papers: sizes, bytes, files and scores."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import GOLDEN, SHARED
from helpers.pictures import texture

from liif.commands.arguments.test import RECIPES as OPTION
from liif.core.errors import UserError
from liif.data.pairs import open_pairs
from liif.data.recipes import (
    RECIPE_NAMES,
    RECIPES,
    made_by,
    pixels_hash,
    recipe_sizes,
    set_hash,
    step_of,
)
from liif.images.rgb8 import read_image, write_image

needs_metrics = pytest.mark.skipif(
    not (SHARED / "metrics").is_dir(), reason="needs shared hashes and sizes (set LIIF_SHARED)"
)


@needs_metrics
def test_sizes_of_arbsr():
    """Those of its script and of its test, for 48 sides at 20 scales."""
    scales = json.loads((SHARED / "metrics" / "arbsr_sizes.json").read_text())["scales"]
    count = 0
    for scale, expected in scales.items():
        assert step_of(float(scale)) == expected["step"]
        for side, sizes in expected["sides"].items():
            assert list(RECIPES["arbsr"].sides(int(side), float(scale))) == sizes, (scale, side)
            count += 1
    assert count == 960


@needs_metrics
@pytest.mark.parametrize("scale", ["1.5", "2.5", "3.5", "3.7", "2.5/1.5"])
def test_bytes_of_recipes(benchmark_data, scale):
    """Of ArbSR with both borders of MATLAB's, of LIIF, and the files that Meta-SR published but for
    x2.5, where exact halves are rounded otherwise."""
    hashes = json.loads((SHARED / "metrics" / "lr_hashes.json").read_text())["lr"]
    factors = float(scale.partition("/")[0]), float(scale.rpartition("/")[2])
    names = {"arbsr": "arbsr mirror columns", "arbsr-2014": "arbsr replicate columns"}
    names |= {"liif": "liif pillow"}
    names |= {"meta-sr": "Meta-SR published"} if scale in ("1.5", "3.5") else {}
    for file in sorted((benchmark_data / "benchmark" / "Set5" / "HR").iterdir()):
        expected, hr = hashes[f"{file.stem} x{scale}"], read_image(file)
        for recipe, key in names.items():
            found = made_by(recipe, hr, factors)
            assert [list(found.shape), pixels_hash(found)] == expected[key], (file.name, recipe)


def test_bytes_of_every_recipe_on_every_machine():
    """Of a picture without any rounding; CI runs this under two versions of NumPy."""
    y, x, c = np.mgrid[0:131, 0:157, 0:3]
    hr = ((x * x + 3 * y * y * (c + 1) + 7 * x * y) // 64 % 256).astype(np.uint8)
    hashes = json.loads((GOLDEN / "lr-recipes.json").read_text())
    assert len(hashes) == 31
    for key, expected in hashes.items():
        recipe, _, scale = key.partition(" x")
        factors = float(scale.partition("x")[0]), float(scale.rpartition("x")[2])
        found = made_by(recipe, hr, factors)
        assert [list(found.shape[:2]), pixels_hash(found)] == expected, (key, np.__version__)


@pytest.mark.parametrize("recipe", RECIPE_NAMES)
@pytest.mark.parametrize("scale", [(2, 2), (3, 3), (1.5, 1.5), (2.5, 1.5), (3.7, 1.1)])
def test_pictures_are_aligned(recipe, scale):
    """A ramp stays a ramp at the places that the scale says, whatever the recipe cuts off."""
    if recipe == "thera" and any(s % 1 for s in scale):
        with pytest.raises(UserError, match="for whole scales"):
            recipe_sizes(recipe, (97, 113), scale)
        return
    y, x = np.mgrid[0:97, 0:113]
    hr = np.stack([y + 60, x + 60, y + x], axis=-1).astype(np.uint8)
    image = made_by(recipe, hr, scale)
    (h, w), (H, W) = recipe_sizes(recipe, (97, 113), scale)
    assert image.shape[0] >= h and image.shape[1] >= w and H <= 97 and W <= 113
    assert abs(h * scale[0] - H) < 1 and abs(w * scale[1] - W) < 1
    rows, cols = ((np.arange(n) + 0.5) * s - 0.5 for n, s in zip((h, w), scale, strict=True))
    inside = image[:h, :w].astype(float)
    assert np.abs(inside[4:-4, 4:-4, 0] - 60 - rows[4:-4, None]).max() < 1.6
    assert np.abs(inside[4:-4, 4:-4, 1] - 60 - cols[None, 4:-4]).max() < 1.6


@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_bicubic_scores_are_those_of_any_other_recipe(recipe, tmp_path):
    """A shift of a fraction of a pixel, which a wrong scale is, would cost decibels."""
    from liif.evaluation.evaluate import _bicubic_psnr
    from liif.evaluation.protocols import get_protocol

    scale = (3, 3) if recipe == "thera" else (2.5, 1.5)
    write_image(tmp_path / "a.png", texture(131, 127, 3))
    scores = [
        _bicubic_psnr(pair, get_protocol("benchmark", scale))
        for name in (recipe, "liif")
        for pair in open_pairs(tmp_path, scale=scale, recipe=name)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.4)


def test_a_set_with_its_manifest(photos, folder, cli):
    status, out, _ = cli(
        "data", "lr", "photos", "--recipe", "arbsr", "-s", "1.5", "2x1.5", "-o", "lr"
    )
    assert status == 0 and "3 images by the recipe arbsr, sha256 " in out
    assert sorted(path.name for path in Path("lr").iterdir()) == ["X1.50", "X2.00_1.50"]
    manifest = json.loads(Path("lr/X2.00_1.50/manifest.json").read_text())
    assert manifest["recipe"] == "arbsr" and manifest["scale"] == [2, 1.5]
    for entry in manifest["images"]:
        image = read_image(Path("lr/X2.00_1.50") / f"{entry['name']}.png")
        hr = read_image(Path("photos") / f"{entry['name']}.png")
        assert list(image.shape[:2]) == entry["size"]
        assert pixels_hash(image) == entry["sha256"] and pixels_hash(hr) == entry["hr_sha256"]
        assert np.array_equal(image, made_by("arbsr", hr, (2, 1.5)))
    digests = [(entry["name"], entry["used_sha256"]) for entry in manifest["images"]]
    assert manifest["sha256"] == set_hash(reversed(digests))
    status, _, err = cli("data", "lr", "photos", "--recipe", "arbsr", "-s", "1.5", "-o", "lr")
    assert status == 1 and "exists" in err


def test_scores_carry_the_hash_of_the_set(scoring, tiny_checkpoint, cli):
    options = ("--config", scoring, "--lr-recipe", "arbsr", "--scale", "1.5", "2.5x1.5")
    status, _, err = cli("test", *options, "-o", "r.json", "-q")
    assert status == 0, err
    cli("data", "lr", "photos", "--recipe", "arbsr", "-s", "1.5", "2.5x1.5", "-o", "lr")
    for result, name in zip(
        json.loads(Path("r.json").read_text()), ("X1.50", "X2.50_1.50"), strict=True
    ):
        manifest = json.loads(Path(f"lr/{name}/manifest.json").read_text())
        assert result["lr"] == "arbsr" and result["degrade"] is None
        assert result["lr_sha256"] == manifest["sha256"]
        assert result["definitions"][0] == "psnr colour=y-edsr border=s"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data", "lr", "photos", "--recipe=arbsr", "-s=1.33", "-o=x"], "multiples of 0.05"),
        (["data", "lr", "photos", "--recipe=thera", "-s=1.5", "-o=x"], "for whole scales"),
        (["data", "lr", "photos", "--recipe=ours", "-s=2", "-o=x"], "invalid choice"),
        (["data", "lr", "photos", "--recipe=arbsr", "-s=30", "-o=x"], "too small for"),
        (["data", "lr", "Set99", "--recipe=arbsr", "-s=2", "-o=x"], "Set99: no such folder"),
        (["data", "lr", "photos", "--recipe=liif", "-s=2", "-o=photos/.."], "photos/../X2.00"),
        (["test", "--config=t.yaml", "--lr-recipe=arbsr", "--lr=photos"], "give one of them"),
        (["test", "--config=t.yaml", "--lr-recipe=arbsr", "-s=40"], "too small for"),
        (["test", "--config=t.yaml", "--set=lr_recipe=arbsr", "--set=bits=16"], "bits: 8"),
    ],
)
def test_mistakes(scoring, cli, options, message):
    if options[-1] == "-o=photos/..":
        (Path("X2.00")).write_text("not a folder")
    status, _, err = cli(*options)
    assert status in (1, 2) and message in err


def test_the_options_name_all_recipes():
    assert OPTION == RECIPE_NAMES == tuple(RECIPES)
