"""Images of any number of channels, of 8 and 16 bits and floats, are read as they are stored."""

import logging

import numpy as np
import pytest
import tifffile
from helpers.pictures import GRAY, WIDE, exif
from PIL import Image

from liif.core.errors import UserError
from liif.images.channels import (
    PixelFormat,
    read_header,
    read_pixels,
    read_size,
    suffix_for,
    write_pixels,
)
from liif.images.rgb8 import read_image, write_image


def values(dtype, *shape):
    random = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return random.random(shape, dtype)
    return random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


N = {"photometric": "minisblack", "metadata": None}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (2, {**N, "planarconfig": "contig"}),
        (4, {"photometric": "rgb"}),  # the fourth is said to be alpha, and is read as it is
        (4, {**N, "planarconfig": "contig"}),
        (6, {**N, "planarconfig": "separate"}),
        (6, {"photometric": "minisblack", "metadata": {"axes": "CYX"}}),
        (5, {}),  # a stack of pages
    ],
)
def test_tiff_of_n_channels(tmp_path, dtype, channels, options):
    image = values(dtype, 9, 7, channels)
    is_last = options.get("planarconfig") == "contig" or options.get("photometric") == "rgb"
    stored = image if is_last else np.ascontiguousarray(image.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "x.tif", stored, **options)
    form = PixelFormat(channels, 8 * image.itemsize)
    assert read_size(tmp_path / "x.tif", form) == (9, 7)
    pixels = read_pixels(tmp_path / "x.tif", form)
    assert pixels.dtype == dtype and np.array_equal(pixels, image)
    assert pixels.flags.c_contiguous and pixels.flags.writeable


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1), (5, 6, 3), (5, 6, 8)])
def test_npy(tmp_path, shape):
    image = values(np.uint16, *shape)
    np.save(tmp_path / "x.npy", image)
    form = PixelFormat((*shape, 1)[2], 16)
    assert np.array_equal(read_pixels(tmp_path / "x.npy", form), image.reshape(5, 6, -1))


def test_gray_is_one_channel(tmp_path):
    Image.fromarray(GRAY).save(tmp_path / "x.png")
    assert np.array_equal(read_pixels(tmp_path / "x.png", PixelFormat(1))[..., 0], GRAY)
    assert np.array_equal(read_pixels(tmp_path / "x.png"), read_image(tmp_path / "x.png"))
    for suffix in ("png", "tif", "pgm"):
        Image.fromarray(WIDE).save(tmp_path / f"y.{suffix}")
        deep = read_pixels(tmp_path / f"y.{suffix}", PixelFormat(1, 16))
        assert deep.dtype == np.uint16 and np.array_equal(deep[..., 0], WIDE)
        rgb = read_pixels(tmp_path / f"y.{suffix}", PixelFormat(3, 16))
        assert np.array_equal(rgb, np.repeat(WIDE[..., None], 3, axis=2))
        assert np.array_equal(read_pixels(tmp_path / f"y.{suffix}", PixelFormat(1)), deep >> 8)


def test_alpha_is_a_channel_or_composited_on_white(tmp_path):
    image = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [100, 0, 255, 51]]], np.uint8)
    Image.fromarray(image).save(tmp_path / "x.png")
    assert np.array_equal(read_pixels(tmp_path / "x.png", PixelFormat(4)), image)
    assert np.array_equal(read_pixels(tmp_path / "x.png"), read_image(tmp_path / "x.png"))
    tifffile.imwrite(tmp_path / "y.tif", image.astype(np.uint16) * 257, photometric="rgb")
    on_white = read_pixels(tmp_path / "y.tif", PixelFormat(3, 16))
    assert np.array_equal(on_white, read_image(tmp_path / "x.png").astype(np.uint16) * 257)


@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_written_is_read(tmp_path, bits):
    for channels in (1, 2, 3, 4, 7):
        form = PixelFormat(channels, bits)
        image = values(form.dtype, 8, 5, channels)
        path = tmp_path / f"{channels}{suffix_for(form)}"
        write_pixels(path, image / np.iinfo(image.dtype).max, form)
        assert np.array_equal(read_pixels(path, form), image)


def test_floats_have_a_stated_range(tmp_path, caplog):
    form = PixelFormat(2, 32, (-1.0, 3.0))
    image = values(np.float32, 4, 6, 2) * 4 - 1
    write_pixels(tmp_path / "x.tif", (image + 1) / 4, form)
    assert np.array_equal(tifffile.imread(tmp_path / "x.tif"), image)
    pixels = read_pixels(tmp_path / "x.tif", form)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, (image + 1) / 4, atol=1e-7)
    assert caplog.records == []
    image[0, 0] = 3.5, -9
    np.save(tmp_path / "x.npy", image)
    with caplog.at_level(logging.WARNING, "liif"):
        assert read_pixels(tmp_path / "x.npy", form)[0, 0].tolist() == [1, 0]
    assert "x.npy: 2 of 48 values are outside of range: [-1, 3]" in caplog.text
    image[1, 1, 1] = np.nan
    np.save(tmp_path / "x.npy", image)
    with pytest.raises(UserError, match=r"x\.npy: cannot read the image: values that are not fin"):
        read_pixels(tmp_path / "x.npy", form)


def test_a_range_of_integers(tmp_path):
    """12 bits in files of 16, and signed numbers."""
    np.save(tmp_path / "x.npy", np.array([[0, 1024, 4095]], np.uint16))
    pixels = read_pixels(tmp_path / "x.npy", PixelFormat(1, 16, (0, 4095)))
    assert pixels[0, :, 0].tolist() == [0, np.float32(1024 / 4095), 1]
    np.save(tmp_path / "x.npy", np.array([[-1024, 0, 3071]], np.int16))
    pixels = read_pixels(tmp_path / "x.npy", PixelFormat(1, 32, (-1024, 3072)))
    assert pixels[0, :2, 0].tolist() == [0, 0.25]


def write_named(path, dtype, *shape):
    if path.suffix == ".npy":
        np.save(path, values(dtype, *shape))
    elif path.suffix == ".tif":
        tifffile.imwrite(
            path,
            values(dtype, *shape),
            photometric="minisblack",
            **{"planarconfig": "contig"} if len(shape) > 2 else {},
        )
    else:
        write_image(path, values(dtype, *shape))


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "form", "reason"),
    [
        ("x.png", np.uint8, (4, 5, 3), PixelFormat(3, 16), "8 bits per channel, but bits: 16 asks"),
        ("x.png", np.uint8, (4, 5, 3), PixelFormat(1), "3 channels, but 1 needed"),
        ("x.png", np.uint8, (4, 5, 3), PixelFormat(4), "3 channels, but 4 needed"),
        ("x.tif", np.uint8, (4, 5, 4), PixelFormat(3), "4 channels, but 3 needed"),
        ("x.tif", np.uint16, (4, 5, 6), PixelFormat(4, 16), "6 channels, but 4 needed"),
        ("x.tif", np.uint8, (4, 5, 6), PixelFormat(6, 16), "8 bits per channel, but bits: 16 asks"),
        ("x.tif", np.float32, (4, 5, 6), PixelFormat(6, 16), "set bits: 32 and range: [LOW, HIGH]"),
        ("x.npy", np.int16, (4, 5), PixelFormat(1, 16), "set bits: 32 and range: [LOW, HIGH]"),
        ("x.npy", np.uint8, (4, 5), PixelFormat(3), "1 channel, but 3 needed"),
        ("x.npy", np.uint8, (4, 5, 3, 2), PixelFormat(3), "uint8 (4, 5, 3, 2), not numbers (H, W"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_file_is_refused(tmp_path, name, dtype, shape, form, reason):
    write_named(tmp_path / name, dtype, *shape)
    for read in (read_size, read_pixels):
        with pytest.raises(UserError) as caught:
            read(tmp_path / name, form)
        message = str(caught.value)
        assert reason in message and name in message and "\n" not in message


@pytest.mark.parametrize("name", ["x.npy", "x.tif", "x.png"])
@pytest.mark.parametrize("content", [b"", b"no image", b"II*\0\x08\0\0\0", b"\x93NUMPY\x01\0\xff"])
def test_damaged_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for read in (read_size, read_pixels):
        for form in (PixelFormat(), PixelFormat(4, 16)):
            with pytest.raises(UserError, match=r"cannot read the image"):
                read(tmp_path / name, form)


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[print]]), allow_pickle=True)
    with pytest.raises(UserError, match="cannot read the image"):
        read_pixels(tmp_path / "x.npy", PixelFormat(1))


def test_a_tiff_of_16_bits_is_turned_upright(tmp_path):
    Image.fromarray(WIDE).save(tmp_path / "x.tif", exif=exif(6))
    form = PixelFormat(1, 16)
    assert read_size(tmp_path / "x.tif", form) == (3, 2)
    assert np.array_equal(read_pixels(tmp_path / "x.tif", form)[..., 0], np.rot90(WIDE, -1))


def test_headers_tell_what_is_there(tmp_path):
    Image.fromarray(GRAY).convert("LA").save(tmp_path / "a.png")
    assert read_header(tmp_path / "a.png").channels == (2, 1, 3)
    (tmp_path / "b.ppm").write_bytes(b"P6 5 4 1023\n" + bytes(5 * 4 * 6))
    assert read_header(tmp_path / "b.ppm").bits == 16
    assert not read_pixels(tmp_path / "b.ppm", PixelFormat(3, 16)).any()
