"""A model applied to PIL images, NumPy arrays and integer tensors returns the same type."""

import numpy as np
import pytest
import torch
from helpers.models import TINY
from helpers.pictures import texture
from PIL import Image

from liif.images.convert import apply_to_image
from liif.models.build import ModelConfig, build_model


def same(batch):
    """A model that changes nothing, and is given what models are given."""
    assert batch.dtype == torch.float32 and batch.dim() == 4 and batch.shape[1] == 3
    assert batch.min() >= 0 and batch.max() <= 1
    return batch


def doubled(batch):
    return batch.repeat_interleave(2, 2).repeat_interleave(2, 3)


def shifted(by):
    """A model whose every value is off."""
    return lambda batch: batch + by


RGB = texture(6, 7)
GRAY = RGB[..., 0]


def with_alpha(colour, alpha=200):
    return np.dstack([colour, np.full(colour.shape[:2], alpha, colour.dtype)])


ARRAYS = {
    "RGB": RGB,
    "gray": GRAY,
    "gray with an axis": GRAY[..., None],
    "RGB of 16 bits": RGB.astype(np.uint16) * 257,
    "big-endian": (RGB.astype(np.uint16) * 257).astype(">u2"),
    "gray of 16 bits": GRAY.astype(np.uint16) * 99,
    "float32": RGB.astype(np.float32) / 255,
    "float64": RGB.astype(np.float64) / 255,
    "float16": (GRAY / 255).astype(np.float16),
    "turned": RGB[::-1, ::-1].swapaxes(0, 1),
    "gray, alpha": with_alpha(GRAY),
    "RGB, alpha": with_alpha(RGB),
    "RGB, alpha of 16 bits": with_alpha(RGB.astype(np.uint16) * 257, 40000),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_as_they_were(name):
    array = ARRAYS[name]
    out = apply_to_image(same, array)
    assert (out.shape, out.dtype) == (array.shape, array.dtype)
    tolerance = 0 if array.dtype.kind == "u" else 1e-3 if array.dtype.itemsize == 2 else 1e-6
    assert np.abs(out.astype(float) - array.astype(float)).max() <= tolerance
    height, width = array.shape[:2]
    assert apply_to_image(doubled, array).shape == (2 * height, 2 * width, *array.shape[2:])


IMAGES = {
    "L": ("L", GRAY),
    "RGB": ("RGB", RGB),
    "LA": ("LA", with_alpha(GRAY)),
    "RGBA": ("RGBA", with_alpha(RGB)),
    "I;16": ("I;16", GRAY.astype(np.uint16) * 257),
    "F": ("F", GRAY.astype(np.float32) / 255),
}


@pytest.mark.parametrize("mode", IMAGES)
def test_pil_images_keep_their_mode(mode):
    expected, values = IMAGES[mode]
    image = Image.fromarray(values)
    assert image.mode == expected
    image.info = {"icc_profile": b"profile", "dpi": (72, 72)}
    out = apply_to_image(doubled, image)
    assert (out.mode, out.size, out.info) == (expected, (14, 12), image.info)
    assert np.allclose(np.asarray(out)[::2, ::2], values, atol=1e-6)


def transparent(image, key):
    image.info["transparency"] = key
    return image


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (Image.fromarray(RGB).quantize(8), "RGB"),
        (transparent(Image.fromarray(RGB).quantize(8), 3), "RGBA"),
        (transparent(Image.fromarray(RGB), (0, 0, 0)), "RGBA"),
        (transparent(Image.fromarray(GRAY), 0), "LA"),
        (Image.fromarray(GRAY).convert("1"), "L"),
        (Image.fromarray(with_alpha(RGB)).convert("RGBa"), "RGBA"),
        (Image.fromarray(RGB).convert("CMYK"), "RGB"),
        (Image.fromarray(RGB).convert("YCbCr"), "RGB"),
    ],
)
def test_other_modes_become_the_nearest(image, mode):
    out = apply_to_image(same, image)
    expected = image.convert(mode)
    assert out.mode == mode and "transparency" not in out.info
    visible = np.asarray(expected.convert("RGBA"))[..., 3:] > 0
    difference = np.asarray(out.convert("RGBA")).astype(int) - np.asarray(expected.convert("RGBA"))
    assert np.abs(difference * visible).max() <= 1


def test_mode_i_is_treated_as_16_bits():
    values = GRAY.astype(np.int32) * 257
    out = apply_to_image(same, Image.fromarray(values))
    assert out.mode == "I" and np.array_equal(np.asarray(out), values)
    with pytest.raises(ValueError, match="from 0 to 65535"):
        apply_to_image(same, Image.fromarray(values * 9))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_integer_tensors(dtype):
    picture = torch.from_numpy(RGB.astype(np.int32) * (257 if dtype == torch.uint16 else 1))
    picture = picture.permute(2, 0, 1)[None].to(dtype)
    assert torch.equal(apply_to_image(same, picture), picture)
    assert apply_to_image(doubled, picture).dtype == dtype


def test_colour_is_enlarged_multiplied_by_alpha():
    """What cannot be seen, here green, has no part in the colours beside it."""
    picture = np.zeros((1, 4, 4), np.uint8)
    picture[:, :2] = (255, 0, 0, 255)
    picture[:, 2:] = (0, 255, 0, 0)

    def blurred(batch):
        return (batch + batch.roll(1, 3) + batch.roll(-1, 3)) / 3

    out = apply_to_image(blurred, picture)
    assert out[..., 3].tolist() == [[170, 170, 85, 85]]
    assert out[..., :3].tolist() == [[[255, 0, 0]] * 4]


def test_overshoot_is_clipped_for_integers_and_alpha_only():
    assert apply_to_image(shifted(2), RGB).min() == 255
    assert apply_to_image(shifted(-2), Image.fromarray(RGB)).getextrema() == ((0, 0),) * 3
    assert apply_to_image(shifted(2), torch.from_numpy(RGB).permute(2, 0, 1)[None]).min() == 255
    values = RGB.astype(np.float32) / 255
    assert np.allclose(apply_to_image(shifted(2), values), values + 2)
    opaque = with_alpha(values, 1)
    assert apply_to_image(shifted(-0.1), opaque)[..., 3].min() == 1  # not beyond what was there


@pytest.mark.parametrize(
    ("picture", "error", "reason"),
    [
        ("photo.jpg", TypeError, "expected a PIL image, .* not str"),
        (None, TypeError, "expected a PIL image, .* not NoneType"),
        (RGB.astype(np.int64), ValueError, "expected an array of .* not int64"),
        (GRAY > 5, ValueError, "expected an array of .* not bool"),
        (RGB.astype(np.float32), ValueError, r"values in \[0, 1\]"),
        (np.full((2, 2), np.nan), ValueError, r"values in \[0, 1\]"),
        (RGB.transpose(2, 0, 1), ValueError, r"\(3, 6, 7\)"),
        (RGB[None], ValueError, r"\(1, 6, 7, 3\)"),
        (
            torch.zeros(3, 4, 4, dtype=torch.int64),
            ValueError,
            "expected a tensor of .* not torch.int64",
        ),
    ],
)
def test_other_types_and_ranges_are_errors(picture, error, reason):
    with pytest.raises(error, match=reason):
        apply_to_image(same, picture)


# A model's own upscale


@pytest.fixture(scope="module")
def model():
    return build_model(ModelConfig.model_validate(TINY)).eval()


def test_upscale_accepts_images_arrays_and_tensors(model):
    lr = torch.from_numpy(RGB).permute(2, 0, 1) / 255
    expected = model.upscale(lr, scale=2.5)
    eight = (expected * 255).round().byte()
    image = model.upscale(Image.fromarray(RGB), scale=2.5)
    assert image.size == (18, 15)
    assert np.array_equal(np.asarray(image), eight.permute(1, 2, 0))
    assert np.array_equal(model.upscale(RGB, scale=2.5), eight.permute(1, 2, 0))
    assert torch.equal(model.upscale(torch.from_numpy(RGB).permute(2, 0, 1), scale=2.5), eight)
    floats = model.upscale(RGB.astype(np.float32) / 255, size=(15, 18), memory=2**20)
    assert np.allclose(floats, expected.permute(1, 2, 0), atol=1e-5)


def test_upscale_rejects_pictures_without_pixels(model):
    with pytest.raises(ValueError, match="lr has shape"):
        model.upscale(np.zeros((0, 4, 3), np.uint8), scale=2)
    with pytest.raises(ValueError, match="exactly one"):
        model.upscale(RGB)
