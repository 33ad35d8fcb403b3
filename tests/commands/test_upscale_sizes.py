"""`liif upscale`: scales as people type them, sizes that keep the aspect ratio, and estimates."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.models import TINY
from helpers.pictures import texture
from PIL import Image

from liif.core.sizes import OutputSpec, Window
from liif.images.convert import to_image, to_tensor
from liif.images.rgb8 import read_image, write_image
from liif.inference import files
from liif.inference.predict import InferenceOptions
from liif.inference.work import WorkMeter, expected_memory, in_words
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import load_checkpoint

HEIGHT, WIDTH = 6, 9


@pytest.fixture
def up(cli, tiny_checkpoint, folder):
    write_image(Path("a.png"), texture(HEIGHT, WIDTH))
    exact = ("--checkpoint", tiny_checkpoint, "--precision", "float32")
    return lambda *options: cli("upscale", *options, *exact)


@pytest.mark.parametrize(
    ("options", "name", "size"),
    [
        ([], "a-x4.png", (36, 24)),
        (["-s", "2"], "a-x2.png", (18, 12)),
        (["--scale", "x2"], "a-x2.png", (18, 12)),
        (["--scale", "2X"], "a-x2.png", (18, 12)),
        (["--scale", "×2.5"], "a-x2.5.png", (22, 15)),
        (["--scale", "1x5"], "a-x1,5.png", (45, 6)),
        (["--scale", "1.5"], "a-x1.5.png", (14, 9)),
        (["--scale", "2,3.5"], "a-x2,3.5.png", (32, 12)),
        (["--size", "38x24"], "a-x4.png", (36, 24)),
        (["--size", "36 × 40"], "a-x4.png", (36, 24)),
        (["--width", "36", "--height", "40"], "a-x4.png", (36, 24)),
        (["--size", "36x40", "--fit", "contain"], "a-x4.png", (36, 24)),
        (["--size", "36x40", "--fit", "stretch"], "a-x6.667,4.png", (36, 40)),
        (["--size", "36x36", "--fit", "cover"], "a-x6.png", (36, 36)),
        (["--size", "40x41"], "a-x4.444.png", (40, 27)),
        (["--width", "40"], "a-x4.444.png", (40, 27)),
        (["--suffix", "out"], "a_out.png", (36, 24)),
        (["--suffix=-large", "-s", "2"], "a-large.png", (18, 12)),
        (["-o", "new/", "--suffix", "out", "-s", "2"], "new/a_out.png", (18, 12)),
        (["-o", "b.png", "-s", "2"], "b.png", (18, 12)),
    ],
)
def test_sizes_and_names(up, options, name, size):
    assert up("-i", "a.png", *options)[0] == 0
    (found,) = [path for path in Path().rglob("*.png") if str(path) != "a.png"]
    with Image.open(found) as image:
        assert (str(found), image.size) == (name, size)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scale", "1,5"], "1,5: may be one factor or two; write 1.5, or 1x5 (height x width)"),
        (["--scale", "0,5"], "write 0.5, or 0x5"),
        (["--scale", "x"], "must be a number above 0, up to 1000, or SYxSX"),
        (["--scale", "2x3x4"], "must be a number above 0"),
        (["--size", "9x9", "--width", "9"], "give one of --scale, --size, --width and --height"),
        (["--scale", "2", "--fit", "cover"], "--fit requires --size"),
        (["--suffix", "x", "-o", "b.png"], "--suffix is for results beside the inputs"),
        (["--suffix", "a/b"], "must be the end of a name"),
        (["--suffix", ""], "a.png: is an input"),
    ],
)
def test_what_cannot_be(up, options, said):
    status, out, err = up("a.png", *options)
    assert status in (1, 2) and out == "" and said in err and os.listdir() == ["a.png"]


def test_the_way_a_picture_fits_is_said(up):
    _, _, err = up("a.png", "--size", "36x40")
    assert "36×24 px, the largest of its aspect ratio within 36×40; --fit cover fills it" in err
    assert "aspect" not in up("a.png", "--size", "45x30")[2]
    assert "no size is given: --scale 4" in up("a.png", "-o", "b.png")[2]


def test_cover_shows_the_middle(up, tiny_checkpoint):
    assert up("a.png", "--size", "24x24", "--fit", "cover")[0] == 0
    model = load_checkpoint(tiny_checkpoint)
    lr = to_tensor(texture(HEIGHT, WIDTH))
    wanted = model.upscale(lr, (24, 24), window=Window(0, 1.5, 6, 6))
    assert np.array_equal(read_image(Path("a-x4.png")), to_image(wanted))


@pytest.mark.parametrize("size", [(600, 900), (601, 899), (1, 7), (3000, 17), (427, 640)])
@pytest.mark.parametrize("box", [(2160, 3840), (10, 10), (17, 4000), (1, 1)])
def test_contain_and_cover_keep_the_ratio(size, box):
    """Properties: contained, touching the box, and undistorted up to the rounding of a side."""
    H, W = OutputSpec(None, *box, fit="contain").target(size)
    assert box[0] >= H and box[1] >= W and (box[0] == H or box[1] == W)
    factor = min(box[0] / size[0], box[1] / size[1])
    assert abs(H - size[0] * factor) <= 1 and abs(W - size[1] * factor) <= 1
    cover = OutputSpec(None, *box, fit="cover")
    top, left, height, width = cover.window(size)
    assert cover.target(size) == box and height / width == pytest.approx(box[0] / box[1])
    assert top >= 0 and left >= 0 and (height, width) <= size
    assert (top + height / 2, left + width / 2) == pytest.approx((size[0] / 2, size[1] / 2))
    assert height == pytest.approx(size[0]) or width == pytest.approx(size[1])


def test_the_estimate_takes_the_time_of_encoding_and_decoding_apart():
    """10 s for all of the encoding, then 1 s for each of 100 blocks, four rows of tiles."""
    now, gains = [0.0], []
    meter = WorkMeter((100, 10), (200, 50), InferenceOptions(), 1, gains.append, lambda: now[0])
    assert meter.estimate is None
    now[0] = 10.0
    meter(1000, 0)
    assert meter.estimate is None and gains == []
    for _ in range(100):
        now[0] += 1.0
        meter(0, 100)
        if meter.share >= 0.02:
            assert meter.estimate == pytest.approx(110)
    assert sum(gains) == pytest.approx(1) and meter.share == 1
    tiled = WorkMeter((100, 10), (200, 50), InferenceOptions(), 1, None, lambda: now[0])
    now[0] += 2.5  # a quarter of the encoding
    tiled(250, 0)
    for _ in range(3):
        now[0] += 1.0
        tiled(0, 100)
    assert tiled.estimate == pytest.approx(110)
    eight = WorkMeter((100, 10), (200, 50), InferenceOptions(self_ensemble=True))
    assert eight.total == (8000, 80000)


def test_long_work_is_announced_and_its_time_is_told_once(up, monkeypatch):
    write_image(Path("b.png"), texture(40, 60))
    monkeypatch.setattr("liif.commands.upscale.LONG_PIXELS", 1000)
    monkeypatch.setattr(files, "LONG_SECONDS", 0)
    status, _, err = up("a.png", "b.png", "-s", "4")
    assert status == 0 and "2 pictures: 0.0 megapixels become 0.0; about 3" in err
    assert err.count(" s in all\n") == 1 and err.index("megapixels") < err.index("in all")
    monkeypatch.setattr("liif.commands.upscale.available_memory", lambda: 10**6)
    _, _, err = up("b.png", "-s", "5")
    assert "only 1 MB of memory are free; try --memory 500M, and results in .png or .tif" in err
    assert "in all" not in up("a.png", "-s", "5", "-q")[2]


def test_the_estimate_counts_all_frames(up, monkeypatch):
    told = []
    monkeypatch.setattr(files, "LONG_SECONDS", 0)
    monkeypatch.setattr(files, "in_words", lambda seconds: told.append(seconds) or "")
    monkeypatch.setattr(WorkMeter, "estimate", 1.0)
    frames = [Image.fromarray(texture(6, 9, seed)) for seed in range(3)]
    frames[0].save("b.gif", save_all=True, append_images=frames[1:], duration=50)
    assert up("b.gif", "-s", "2")[0] == 0 and told == [3.0]
    assert up("a.png", "a.png", "b.gif", "-s", "3")[0] == 0 and told == [3.0, 2.0]


def test_words_and_memory():
    assert [in_words(s) for s in (0.4, 89, 300, 9000)] == ["0 s", "89 s", "5 min", "2.5 h"]
    model = build_model(ModelConfig.model_validate(TINY))
    small, large, whole = (
        expected_memory(model, (n, n), (4 * n, 4 * n), None, is_streamed=streamed)
        for n, streamed in ((64, True), (2048, True), (2048, False))
    )
    assert small < 4e8 < large < 2e9 and whole - large == 6 * 8192**2
