"""Every kind of pixels is read as 8-bit RGB: gray, palettes, alpha, CMYK, 16 bit, frames."""

import struct

import numpy as np
import pytest
from helpers.pictures import GRAY, GRAY3, WIDE, noise, png
from PIL import Image, ImageCms
from PIL import __version__ as pillow_version

from liif.core.errors import UserError
from liif.images.rgb8 import image_size, read_image

PILLOW = int(pillow_version.split(".")[0])


def read_saved(image, path, **options):
    image.save(path, **options)
    pixels = read_image(path)
    assert pixels.dtype == np.uint8 and pixels.shape == (image.height, image.width, 3)
    assert pixels.flags.c_contiguous and pixels.flags.writeable
    assert image_size(path) == pixels.shape[:2]
    return pixels


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".webp"])
def test_rgb_is_read_as_it_is(tmp_path, suffix):
    options = {"lossless": True} if suffix == ".webp" else {}
    image = noise(5, 7)
    assert np.array_equal(
        read_saved(Image.fromarray(image), tmp_path / f"x{suffix}", **options), image
    )


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm", ".bmp"])
def test_gray_is_replicated(tmp_path, suffix):
    assert np.array_equal(read_saved(Image.fromarray(GRAY), tmp_path / f"x{suffix}"), GRAY3)


def test_one_bit(tmp_path):
    bits = Image.fromarray(np.array([[0, 255, 0], [255, 255, 0]], np.uint8)).convert("1")
    pixels = read_saved(bits, tmp_path / "x.png")
    assert pixels[..., 0].tolist() == [[0, 255, 0], [255, 255, 0]]


def palette_image():
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image = image.convert("P")
    image.putpalette([10, 20, 30, 200, 100, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    return image


def test_palette(tmp_path):
    pixels = read_saved(palette_image(), tmp_path / "x.png")
    assert pixels.tolist() == [[[10, 20, 30], [200, 100, 0], [0, 0, 255]]]


def test_palette_with_transparency_is_composited_over_white(tmp_path):
    pixels = read_saved(palette_image(), tmp_path / "x.png", transparency=bytes([0, 255, 51]))
    assert pixels.tolist() == [[[255, 255, 255], [200, 100, 0], [204, 204, 255]]]
    one = read_saved(palette_image(), tmp_path / "y.png", transparency=1)
    assert one.tolist() == [[[10, 20, 30], [255, 255, 255], [0, 0, 255]]]


RGBA = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [100, 0, 255, 51]]], np.uint8)
RGBA_ON_WHITE = [[[10, 20, 30], [255, 255, 255], [224, 204, 255]]]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_composited_over_white(tmp_path, suffix):
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    pixels = read_saved(Image.fromarray(RGBA), tmp_path / f"x{suffix}", **options)
    assert pixels.tolist() == RGBA_ON_WHITE


def premultiplied(image, path):
    """Save as TIFF, its extra sample declared as alpha that the colours are multiplied by."""
    image.save(path)
    straight, multiplied = (struct.pack("<HHIH", 338, 3, 1, value) for value in (2, 1))
    data = path.read_bytes()
    assert data.count(straight) == 1
    path.write_bytes(data.replace(straight, multiplied))
    return path


def test_premultiplied_alpha(tmp_path):
    colour = Image.fromarray(np.array([[[20, 0, 51, 51], [7, 8, 9, 255]]], np.uint8))
    pixels = read_image(premultiplied(colour, tmp_path / "x.tif"))
    assert pixels.tolist() == [[[224, 204, 255], [7, 8, 9]]]


@pytest.mark.skipif(PILLOW < 12, reason="older Pillow knows no premultiplied gray")
def test_premultiplied_gray(tmp_path):
    gray = Image.fromarray(np.array([[[20, 51], [9, 255], [0, 0]]], np.uint8), "LA")
    pixels = read_image(premultiplied(gray, tmp_path / "y.tif"))
    assert pixels[..., 0].tolist() == [[224, 9, 255]]


def test_gray_with_alpha(tmp_path):
    image = Image.fromarray(np.array([[[100, 255], [100, 0], [0, 51]]], np.uint8), "LA")
    assert read_saved(image, tmp_path / "x.png")[0].tolist() == [[100] * 3, [255] * 3, [204] * 3]


def test_palette_with_alpha(tmp_path):
    image = Image.new("PA", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putdata([(0, 255), (1, 0)])
    assert read_saved(image, tmp_path / "x.tif").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_key_colour(tmp_path):
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    pixels = read_saved(image, tmp_path / "x.png", transparency=(1, 2, 3))
    assert pixels.tolist() == [[[255, 255, 255], [4, 5, 6]]]
    pixels = read_saved(Image.fromarray(GRAY), tmp_path / "y.png", transparency=0)
    assert pixels[0, :2].tolist() == [[255] * 3, [60] * 3]


def test_cmyk(tmp_path):
    # No ink is white, full key is black, full cyan takes the red away.
    image = Image.new("CMYK", (3, 1))
    image.putdata([(0, 0, 0, 0), (0, 0, 0, 255), (255, 0, 0, 0)])
    assert read_saved(image, tmp_path / "x.tif").tolist() == [
        [[255, 255, 255], [0, 0, 0], [0, 255, 255]]
    ]
    flat = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    pixels = read_saved(flat, tmp_path / "x.jpg", quality=100)
    assert abs(pixels.astype(int) - [0, 255, 255]).max() <= 2


@pytest.mark.skipif(PILLOW < 12, reason="older Pillow does not read back its own YCbCr TIFF")
def test_ycbcr(tmp_path):
    image = Image.new("YCbCr", (2, 1))
    image.putdata([(90, 128, 128), (76, 85, 255)])
    pixels = read_saved(image, tmp_path / "x.tif")
    assert pixels[0, 0].tolist() == [90, 90, 90]
    assert abs(pixels[0, 1].astype(int) - [254, 0, 0]).max() <= 2  # red, by BT.601


def test_lab(tmp_path):
    lab = ImageCms.applyTransform(
        Image.new("RGB", (2, 2), (180, 90, 40)),
        ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        ),
    )
    pixels = read_saved(lab, tmp_path / "x.tif")
    assert abs(pixels.astype(int) - [180, 90, 40]).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_gray_keeps_its_high_byte(tmp_path, suffix):
    image = Image.fromarray(WIDE.astype(np.int32) if suffix == ".pgm" else WIDE)
    pixels = read_saved(image, tmp_path / f"x{suffix}")
    assert pixels[..., 0].tolist() == [[0, 0, 1], [0x12, 0xFE, 0xFF]]
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_32_bit_gray_within_16_bits_is_read_as_16_bits(tmp_path):
    pixels = read_saved(Image.fromarray(WIDE.astype(np.int32)), tmp_path / "x.tif")
    assert pixels[..., 0].tolist() == [[0, 0, 1], [0x12, 0xFE, 0xFF]]


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_16_bit_gray_tiff_of_either_byte_order(tmp_path, byte_order):
    (tmp_path / "x.tif").write_bytes(tiff(WIDE.astype(f"{byte_order}u2"), byte_order))
    pixels = read_image(tmp_path / "x.tif")
    assert pixels[..., 1].tolist() == [[0, 0, 1], [0x12, 0xFE, 0xFF]]


def tiff(values, byte_order):
    """A smallest uncompressed gray TIFF of 16-bit values."""
    height, width = values.shape
    entries = [(256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1)]
    entries += [(273, 3, 8), (277, 3, 1), (278, 3, height), (279, 3, values.nbytes)]
    head = struct.pack(f"{byte_order}2sHI", *((b"II", b"MM")[byte_order == ">"], 42, 8))
    head = head[:4] + struct.pack(f"{byte_order}I", 8 + values.nbytes)
    directory = struct.pack(f"{byte_order}H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack(f"{byte_order}HHIHxx", tag, kind, 1, value)
    return head + values.tobytes() + directory + bytes(4)


def test_16_bit_colour_keeps_its_high_byte(tmp_path):
    rows = [struct.pack(">6H", 0x1234, 0xFFFF, 0x00FF, 0x8001, 0x7FFF, 0x0100)]
    pixels = read_image(png(tmp_path / "x.png", 2, 16, rows, 2))
    assert pixels.tolist() == [[[0x12, 0xFF, 0], [0x80, 0x7F, 1]]]


@pytest.mark.parametrize("value", [65536, -1])
def test_integers_beyond_16_bits_are_errors(tmp_path, value):
    Image.fromarray(np.array([[0, value]], np.int32)).save(tmp_path / "x.tif")
    with pytest.raises(UserError, match=r"x\.tif.*(beyond the 16-bit range|some below 0)"):
        read_image(tmp_path / "x.tif")


def test_floats_are_read_from_0_to_1(tmp_path):
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(tmp_path / "x.tif")
    assert read_image(tmp_path / "x.tif")[..., 0].tolist() == [[0, 128, 255]]
    for values in ([0.0, 1.5], [-0.1, 0.5], [0, np.nan]):
        Image.fromarray(np.array([values], np.float32)).save(tmp_path / "x.tif")
        with pytest.raises(UserError, match=r"x\.tif.*floating-point.*only 0 .black. to 1"):
            read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".gif"])
def test_the_first_frame_is_read(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    options = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(tmp_path / f"x{suffix}", save_all=True, append_images=frames[1:], **options)
    pixels = read_image(tmp_path / f"x{suffix}")
    assert pixels.shape == (3, 4, 3)
    assert (pixels == [255, 0, 0]).all()
