"""Crops are cut from the whole enlarged image and drawn with whole pixels."""

import math
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import texture
from helpers.plotting import pixels, plot, refused
from PIL import Image

from liif.core.errors import UserError
from liif.data.pairs import reduce
from liif.figures.crops import (
    GAP_PX,
    Box,
    CropRow,
    CropScene,
    crops_figure,
    enlarged_crops,
)
from liif.figures.style import DPI, encode_figure
from liif.images.convert import to_image, to_tensor
from liif.images.resize import matlab_bicubic
from liif.images.rgb8 import read_image
from liif.models.checkpoint import load_checkpoint

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize("scale", [2, 2.7])
def test_crops_are_cut_from_the_whole_enlarged_image(tiny_checkpoint, scale):
    image, box = texture(50, 61), Box(11, 20, 16, 9)
    model = load_checkpoint(tiny_checkpoint)
    row = enlarged_crops(image, scale, box, {"tiny": model}, Path("a.png"))
    lr, hr = reduce(image, (scale, scale), Path("a.png"))
    part = np.s_[20:29, 11:27]
    assert list(row.crops) == ["LR", "bicubic", "tiny", "HR"]
    assert np.array_equal(row.crops["HR"], image[part])
    bicubic = matlab_bicubic(lr, hr.shape[:2])[part]
    assert np.array_equal(row.crops["bicubic"], bicubic)
    nearest = Image.fromarray(lr).resize(hr.shape[1::-1], Image.Resampling.NEAREST)
    assert np.array_equal(row.crops["LR"], np.asarray(nearest)[part])
    if scale == 2:
        assert np.array_equal(row.crops["LR"], lr.repeat(2, 0).repeat(2, 1)[part])
    sr = model.upscale(to_tensor(lr), hr.shape[:2])
    assert np.array_equal(row.crops["tiny"], to_image(sr)[part])
    error = np.square(bicubic / 255 - image[part] / 255).mean()
    assert row.psnr["bicubic"] == pytest.approx(-10 * math.log10(error), abs=1e-4)
    error = np.square(sr[:, 20:29, 11:27].permute(1, 2, 0).numpy() - image[part] / 255).mean()
    assert row.psnr["tiny"] == pytest.approx(-10 * math.log10(error), abs=1e-4)


def test_every_pixel_of_a_crop_is_a_square_of_whole_pixels():
    image = texture(40, 60)
    scenes = []
    for box in (Box(3, 4, 32, 20), Box(0, 0, 33, 39)):
        crops = {name: box.cut(texture(40, 60, i)) for i, name in enumerate(("LR", "a$", "HR"))}
        rows = [CropRow(s, crops, {"a$": 20.0}) for s in (2, 3.5)]
        scenes.append(CropScene("photo", image, box, rows))
    figure = crops_figure(scenes)
    drawn = pixels(encode_figure(figure, ".png"))
    H, W = drawn.shape[:2]
    assert tuple(round(DPI * inch) for inch in figure.get_size_inches()) == (W, H)
    axes = {axis.get_label(): axis for axis in figure.axes[-6:]}  # of the second scene
    assert list(axes) == [f"{name} x{s}" for s in ("2", "3.5") for name in ("LR", "a$", "HR")]
    zoom = 420 // 39
    for label, axis in axes.items():
        expected = scenes[1].rows[0].crops[label.split()[0]].repeat(zoom, 0).repeat(zoom, 1)
        at = axis.get_position()
        left, top = round(at.x0 * W), round((1 - at.y1) * H)
        part = drawn[top : top + expected.shape[0], left : left + expected.shape[1]]
        assert np.array_equal(part, expected)
        assert axis.images[0].get_interpolation() == "none"
    texts = [text.get_text() for text in figure.texts]
    assert texts[:4] == ["LR", "a$", "HR", "photo"] and texts.count("20.00 dB") == 4
    assert texts.count("x3.5") == 2 and texts[-1] == "Numbers: PSNR of the crop, RGB"
    (white, marked) = figure.axes[0].patches
    fit = figure.axes[0].images[0].get_array().shape[1] / 60
    assert marked.get_xy() == pytest.approx((3 * fit - 0.5, 4 * fit - 0.5))
    assert (marked.get_width(), marked.get_height()) == pytest.approx((32 * fit, 20 * fit))
    assert white.get_bbox().bounds == marked.get_bbox().bounds
    assert (drawn[:GAP_PX] == 255).all() and (drawn[:, -GAP_PX:] == 255).all()


def test_crops_by_command(photos, tiny_checkpoint):
    draw = ("crops", "--image", photos / "a.png", photos / "b.png", "--scales", "2,3.7")
    use = ("--checkpoint", tiny_checkpoint, f"ours={tiny_checkpoint}", "--device", "cpu")
    plot(*draw, *use, "--box", "0,0,8,8", "4,5,16,12", "--out", "o.pdf", "--out", "o.png")
    assert Path("o.pdf").read_bytes().startswith(b"%PDF")
    drawn = pixels(Path("o.png").read_bytes())
    corner = read_image(photos / "a.png")[0, 0]
    block = drawn[76 : 76 + 52, -24 - 416 : -24 - 416 + 52]  # HR is the last column
    assert (block == corner).all() and (drawn[76 + 52, -24 - 416] != corner).any()
    plot(*draw, *use, "--precision", "bf16", "--memory", "1M", "--out", "middle.png")


def test_wrong_arguments_are_refused(photos, tiny_checkpoint):
    draw = ("crops", "--image", photos / "a.png", "--out", "o.png", "--checkpoint")
    use = (*draw, tiny_checkpoint)
    outside = refused(*use, "--box", "50,0,11,8", "--scales", "2")
    assert "a.png: the box 50,0,11,8 reaches outside the 60×40 px that x2 preserves" in outside
    assert "the 56×40 px that x8 preserves" in refused(*use, "--box", "50,0,10,8")
    assert "the 50×0 px that x50 preserves" in refused(*use, "--scales", "50")
    boxes = ("--box", "0,0,8,8", "0,0,8,8")
    assert "--box: 2 boxes for 1 images" in refused(*use, *boxes)
    assert "no.pt: no such checkpoint file" in refused(*draw, "LIIF=no.pt")
    for same in ((f"a={tiny_checkpoint}",) * 2, (f"HR={tiny_checkpoint}",), (tiny_checkpoint,) * 2):
        assert "every model needs its own name: use NAME=FILE" in refused(*draw, *same)
    assert "no.png: cannot read the image" in refused(
        "crops", "--image", "no.png", "--checkpoint", tiny_checkpoint, "--out", "o.png"
    )
    Path("broken.png").write_bytes((photos / "a.png").read_bytes()[:200])
    assert "broken.png: cannot read the image" in refused(
        "crops", "--image", "broken.png", "--checkpoint", tiny_checkpoint, "--out", "o.png"
    )


@pytest.mark.parametrize(
    "box", ["1,2,3", "-1,0,2,2", "0,0,0,2", "a,b,c,d", "1.5,0,2,2", "", "²,0,2,2"]
)
def test_wrong_boxes_are_refused(box):
    use = ("--image=a.png", "--checkpoint=c.pt", "--out=o.png", f"--box={box}")
    assert f"argument --box: {box}: must be X,Y,W,H" in refused("crops", *use)


@pytest.mark.parametrize("scales", ["0", "0.5", "nan", "inf", "2,,3", "", "two", "1e9"])
def test_wrong_scales_are_refused(scales):
    use = ("--image=a.png", "--checkpoint=c.pt", "--out=o.png", f"--scales={scales}")
    assert f"argument --scales: {scales}: must be numbers from 1" in refused("crops", *use)


def test_a_figure_too_large_for_matplotlib_is_refused():
    crop = np.zeros((7000, 100, 3), np.uint8)
    rows = [CropRow(s, {"LR": crop, "HR": crop}, {}) for s in range(10)]
    with pytest.raises(UserError, match="draw fewer images or scales, or smaller boxes"):
        crops_figure([CropScene("a", crop, Box(0, 0, 100, 7000), rows)])
