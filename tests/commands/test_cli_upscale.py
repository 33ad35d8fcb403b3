"""`liif upscale`: any size, any kind of image, any engine, and what cannot be enlarged."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pictures import broken, texture
from PIL import Image

from liif.images.convert import to_image, to_tensor
from liif.images.rgb8 import read_image
from liif.models.checkpoint import load_checkpoint
from liif.models.model import SRModel

pytestmark = pytest.mark.usefixtures("folder")


def test_engines_and_precisions(cli, scoring, photos, tiny_checkpoint, refused):
    psnrs = {}
    for how in ((), ("--engine", "reference"), ("--memory", "0.5m"), ("--precision", "bf16")):
        assert cli("test", "--config", scoring, "--out", "r.json", *how)[0] == 0
        result = json.loads(Path("r.json").read_text())
        psnrs[how] = result["psnr"]
        assert result["precision"] == ("bf16" if "bf16" in how else "float32")
    fast, plain, tiled, rough = psnrs.values()
    assert fast == pytest.approx(plain, abs=1e-4) and fast == pytest.approx(tiled, abs=1e-4)
    assert 1e-6 < abs(fast - rough) < 0.05
    use = ("upscale", photos / "a.png", "--output", "out.png", "--overwrite", "--scale", "2.5")
    use = (*use, "--checkpoint")
    images = []
    for how in ((), ("--engine", "reference"), ("--memory", "1")):
        assert cli(*use, tiny_checkpoint, *how)[0] == 0
        images.append(read_image(Path("out.png")).astype(int))
        assert np.abs(images[-1] - images[0]).max() <= 1  # a value at the edge of rounding
        assert (images[-1] != images[0]).mean() < 0.01
    both = ("--engine", "reference", "--precision", "bf16")
    assert "knows neither --precision nor" in refused(*use, tiny_checkpoint, *both)
    for wrong in ("0", "-1", "5X", "lots", "1e3"):
        assert "must be a size such as" in refused(*use, tiny_checkpoint, f"--memory={wrong}")


@pytest.mark.parametrize(
    ("how", "size"),
    [
        (["--scale", "2"], (80, 120)),
        (["--scale", "3.7"], (148, 222)),
        (["--scale", "2,3.5"], (80, 210)),
        (["--width", "100"], (67, 100)),
        (["--height", "100"], (100, 150)),
        (["--size", "61x41"], (41, 61)),
    ],
)
def test_upscale_to_any_size(cli, photos, tiny_checkpoint, how, size):
    status, _, err = cli(
        "upscale", photos / "a.png", "x/out.png", "--checkpoint", tiny_checkpoint, *how
    )
    assert status == 0 and f"x/out.png: {size[1]}×{size[0]} px" in err
    wanted = load_checkpoint(tiny_checkpoint).upscale(to_tensor(texture(40, 60, 0)), size)
    assert np.array_equal(read_image(Path("x/out.png")), to_image(wanted))


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(texture(1, 1)),
        Image.fromarray(texture(1, 9)),
        Image.fromarray(texture(9, 1)),
        Image.fromarray(texture(6, 7)[..., 0]),
        Image.fromarray(texture(6, 7)[..., 0]).convert("1"),
        Image.fromarray(texture(6, 7)).convert("P"),
        Image.fromarray(texture(6, 7)).convert("RGBA"),
        Image.fromarray(texture(6, 7)[..., 0].astype(np.uint16) * 256),
    ],
    ids=["one pixel", "one row", "one column", "gray", "1 bit", "palette", "alpha", "16 bit"],
)
def test_upscale_takes_every_kind_of_image(cli, tiny_checkpoint, image):
    image.save("in.png")
    use = ("--checkpoint", tiny_checkpoint, "--scale", "3")
    assert cli("upscale", "in.png", "out.png", *use)[0] == 0
    assert read_image(Path("out.png")).shape == (3 * image.height, 3 * image.width, 3)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ([], "give one of --scale, --size, --width and --height"),
        (["--scale", "2", "--size", "3x4"], "give one of --scale, --size"),
        *((["--scale", s], f"--scale: {s}: must be a number above 0")
          for s in ("abc", "0", "-1", "1,2,3", "nan", "inf", "1e9", "2,", "")),
        *((["--size", s], f"--size: {s}: must be WIDTHxHEIGHT")
          for s in ("3", "0x3", "3x", "+3x4", "²x3", "3x4x5", "9999999x1", "1.5x2")),
    ],
)  # fmt: skip
def test_sizes_that_are_none(refused, photos, tiny_checkpoint, how, said):
    use = [photos / "a.png", "out.png", "--checkpoint", tiny_checkpoint]
    assert said in refused("upscale", *use, *how)
    assert not Path("out.png").exists()


def test_too_little_memory_is_no_traceback(refused, photos, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(SRModel, "encode", lambda model, lr: torch.empty(10**15))
    use = [photos / "a.png", "out.png", "--checkpoint", tiny_checkpoint]
    assert "not enough memory" in refused("upscale", *use, "--scale", "2")
    assert not Path("out.png").exists()


def test_images_that_cannot_be_enlarged(refused, photos, tiny_checkpoint, folder):
    xcf = [photos / "a.png", "out.xcf", "--scale", "2", "--checkpoint", tiny_checkpoint]
    assert "out.xcf: cannot write this format; use one of .png" in refused("upscale", *xcf)
    use = ["out.png", "--scale", "2", "--checkpoint", tiny_checkpoint]
    assert f"{folder / 'no.png'}: cannot read the image" in refused("upscale", "no.png", *use)
    assert "out.png: one file for several pictures" in refused("upscale", photos, *use)
    broken("truncated")
    assert "b.png: cannot read the image: " in refused("upscale", photos / "b.png", *use)
