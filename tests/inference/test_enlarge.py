"""A photograph at any size: the model where it grows, bicubic where it does not, alpha, windows."""

import numpy as np
import pytest
import torch
from helpers.models import TINY
from helpers.pictures import texture
from PIL import Image

from liif.core.errors import UserError
from liif.core.sizes import Box, OutputSpec, Window
from liif.figures.compare import comparison, most_detailed
from liif.figures.sheets import FRAMES
from liif.images.convert import to_image, to_tensor
from liif.images.formats import Layout
from liif.images.photo import Photo
from liif.images.resize import pillow_bicubic
from liif.inference.enlarge import enlarge_photo
from liif.inference.predict import InferenceOptions
from liif.models.build import ModelConfig, build_model


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(ModelConfig.model_validate(TINY)).eval()


def made(model, photo, layout, **spec):
    options = spec.pop("options", InferenceOptions())
    return np.concatenate(list(enlarge_photo(model, photo, OutputSpec(**spec), layout, options)))


def test_colour_is_what_the_model_gives(model):
    image = texture(20, 24)
    found = made(model, Photo(image), Layout(3, 8), scale=(2.5, 3.2))
    wanted = model.upscale(to_tensor(image), (50, 77))
    assert np.array_equal(found, to_image(wanted))
    deep = made(model, Photo(image.astype(np.uint16) * 257), Layout(3, 16), scale=(2.5, 3.2))
    assert deep.dtype == np.uint16
    exact = wanted.permute(1, 2, 0).numpy() * 65535
    assert np.abs(deep - exact).max() < 1  # 256 times as fine as 8 bits
    assert len(np.unique(deep)) > 256


def test_gray_stays_gray(model):
    gray = texture(20, 24)[..., :1]
    found = made(model, Photo(gray), Layout(1, 8), scale=(2, 2))
    wanted = model.upscale(to_tensor(gray.repeat(3, axis=2)), scale=2).mean(0)
    assert found.shape == (40, 48, 1)
    assert np.abs(found[..., 0] - wanted.numpy() * 255).max() <= 0.51


@pytest.mark.parametrize(
    ("spec", "size", "wanted"),
    [
        ({"scale": (3.7, 2.0)}, (40, 60), (148, 120)),
        ({"width": 100}, (40, 60), (67, 100)),
        ({"height": 100}, (40, 60), (100, 150)),
        ({"height": 7, "width": 90}, (40, 60), (7, 90)),
        ({"scale": (0.001, 0.001)}, (40, 60), (1, 1)),
        ({"width": 30, "crop": Window(1.5, 2, 10.0, 20.0)}, (40, 60), (15, 30)),
        ({"scale": (2.0, 2.0), "crop": Window(1.5, 2, 10.25, 20.0)}, (40, 60), (20, 40)),
    ],
)
def test_sizes(model, spec, size, wanted):
    assert OutputSpec(**spec).target(size) == wanted
    photo = Photo(texture(*size))
    assert made(model, photo, Layout(3, 8), **spec).shape == (*wanted, 3)


def test_windows(model):
    image = texture(30, 40)
    window = Window(3.25, 5.5, 11.0, 17.5)
    found = made(model, Photo(image), Layout(3, 8), scale=(4, 4), crop=window)
    wanted = model.upscale(to_tensor(image), scale=4.0, window=window)
    assert np.array_equal(found, to_image(wanted))
    whole = made(model, Photo(image), Layout(3, 8), scale=(4, 4))
    part = found.astype(int) - whole[13 : 13 + 44, 22 : 22 + 70]
    assert np.abs(part).max() <= 1
    with pytest.raises(UserError, match="40×30 px; --crop reaches beyond"):
        made(model, Photo(image), Layout(3, 8), scale=(4, 4), crop=Window(20, 0, 11.0, 1))


def test_what_does_not_grow_is_bicubic(model):
    image = texture(40, 60)
    found = made(model, Photo(image), Layout(3, 8), scale=(0.3, 0.45))
    assert np.abs(found.astype(int) - pillow_bicubic(image, (12, 27))).max() <= 1
    assert np.array_equal(made(model, Photo(image), Layout(3, 8), scale=(1, 1)), image)
    # One axis each: reduced first, then enlarged by the model.
    found = made(model, Photo(image), Layout(3, 8), scale=(0.5, 3))
    small = np.stack([np.asarray(
        Image.fromarray(image[..., c].astype(np.float32)).resize((60, 20), Image.Resampling.BICUBIC)
    ) for c in range(3)])  # fmt: skip
    wanted = model.upscale(torch.from_numpy(small) / 255, (20, 180))
    assert np.abs(found.astype(int) - to_image(wanted)).max() <= 1


def test_reducing_does_not_alias(model):
    """A pattern finer than the result can show becomes even gray."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    found = made(model, Photo(stripes), Layout(3, 8), scale=(2, 0.24))
    assert np.ptp(found[:, 2:-2]) < 70 and abs(float(found.mean()) - 127.5) < 20


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.3, 2.0, 4.0])
@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_stays_exact_where_it_was(model, scale, bits):
    kind, largest = (np.uint8, 255) if bits == 8 else (np.uint16, 65535)
    alpha = np.full((40, 60), largest, kind)
    alpha[:, :30], alpha[20:, 28:32] = 0, largest // 2
    photo = Photo(texture(40, 60).astype(kind), alpha)
    found = made(model, photo, Layout(4, bits), scale=(scale, scale))
    H, W = found.shape[:2]
    left, right = int(W * 26 / 60), int(W * 35 / 60)
    if scale < 1:
        left, right = int(W * 20 / 60), int(W * 40 / 60)
    assert (found[..., 3][:, :left] == 0).all() and (found[..., :3][:, :left] == 0).all()
    assert (found[..., 3][:, right:] == largest).all()
    assert 0 < np.median(found[int(H * 0.7) :, W // 2, 3]) < largest


def test_what_is_invisible_does_not_show(model):
    """The colour below transparency makes no difference."""
    alpha = np.zeros((20, 20), np.uint8)
    alpha[5:15, 5:15] = 255
    colour = texture(20, 20)
    other = np.where(alpha[..., None] > 0, colour, 255 - colour)
    results = [made(model, Photo(c, alpha), Layout(4, 8), scale=(3, 3)) for c in (colour, other)]
    assert np.array_equal(*results)
    on_white = made(model, Photo(colour, alpha), Layout(3, 8), scale=(3, 3))
    flat = np.where(alpha[..., None] > 0, colour, 255).astype(np.uint8)
    wanted = made(model, Photo(flat), Layout(3, 8), scale=(3, 3))
    assert np.abs(on_white.astype(int) - wanted).max() <= 1


def test_colour_and_alpha_in_strips_of_any_height(model, monkeypatch):
    alpha = texture(30, 40)[..., 0]
    photo = Photo(texture(30, 40, 1), alpha)
    whole = made(model, photo, Layout(4, 8), scale=(4, 4))
    monkeypatch.setattr("liif.models.tiling.STRIP_BYTES", 20000)
    monkeypatch.setattr("liif.inference.enlarge._CHUNK", 5000)
    strips = list(enlarge_photo(model, photo, OutputSpec((4.0, 4.0)), Layout(4, 8)))
    assert len(strips) > 10
    assert np.abs(np.concatenate(strips).astype(int) - whole).max() <= 1


# Comparisons


def test_a_comparison_shows_the_boxes_and_their_scores(model):
    hr = texture(120, 160)
    lr = pillow_bicubic(hr, (30, 40))
    boxes = [Box(4, 6, 10, 8), Box(20, 10, 12, 12)]
    sheet, said = comparison(model, Photo(lr), (120, 160), "a.png", boxes, Photo(hr))
    assert sheet.dtype == np.uint8 and sheet.shape[1] > 4 * 290
    assert said.startswith("a.png, ×4: PSNR of the whole ") and "with bicubic" in said
    for colour in FRAMES[:2]:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (sheet == rgb).all(axis=2).sum() > 1000
    narrow, said = comparison(model, Photo(lr), (120, 160), "a.png")
    assert narrow.shape[1] < sheet.shape[1] and said == "a.png, ×4"
    with pytest.raises(UserError, match=r"--box 35,0,10,8: reaches beyond a\.png"):
        comparison(model, Photo(lr), (120, 160), "a.png", [Box(35, 0, 10, 8)])
    with pytest.raises(UserError, match="--reference has 160×120 px, but the output has 160×119"):
        comparison(model, Photo(lr), (119, 160), "a.png", boxes, Photo(hr))


def test_boxes_are_chosen_where_the_detail_is():
    image = np.full((90, 120, 3), 100, np.uint8)
    image[60:80, 10:30] = np.random.default_rng(0).integers(0, 256, (20, 20, 1))
    image[5:25, 80:100] = np.random.default_rng(1).integers(0, 200, (20, 20, 1))
    first, second = most_detailed(image, 24, 2)
    assert first.x <= 11 and first.x + 24 >= 29 and first.y <= 61 and first.y + 24 >= 79
    assert second.x <= 81 and second.y <= 6
    assert len(most_detailed(image[:1, :1], 24, 2)) == 1
