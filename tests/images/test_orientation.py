"""EXIF orientation, and the size of an image without decoding."""

import numpy as np
import pytest
from helpers.pictures import GRAY, GRAY3, UPRIGHT, WIDE, exif, noise, png, save_noise
from PIL import Image

from liif.images.rgb8 import image_size, read_image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".lzw.tif"])
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    image = noise(3, 5)
    options = {".webp": {"lossless": True}, ".lzw.tif": {"compression": "tiff_lzw"}}
    path = tmp_path / f"x{suffix}"
    Image.fromarray(image).save(path, exif=exif(orientation), **options.get(suffix, {}))
    expected = UPRIGHT[orientation](image)
    assert image_size(path) == expected.shape[:2]
    assert np.array_equal(read_image(path), expected)


def test_exif_orientation_of_jpeg_gray_and_16_bit(tmp_path):
    Image.fromarray(np.full((16, 32, 3), 90, np.uint8)).save(tmp_path / "x.jpg", exif=exif(6))
    assert image_size(tmp_path / "x.jpg") == read_image(tmp_path / "x.jpg").shape[:2] == (32, 16)
    Image.fromarray(GRAY).save(tmp_path / "x.png", exif=exif(8))
    assert np.array_equal(read_image(tmp_path / "x.png"), UPRIGHT[8](GRAY3))
    Image.fromarray(WIDE).save(tmp_path / "y.png", exif=exif(6))
    high = np.repeat((WIDE >> 8)[..., None], 3, axis=2)
    assert np.array_equal(read_image(tmp_path / "y.png"), UPRIGHT[6](high))


def test_png_orientation_after_the_pixels(tmp_path):
    rows = [bytes(range(9)), bytes(range(9, 18))]
    late = (b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0"))
    path = png(tmp_path / "x.png", 2, 8, rows, 3, late)
    stored = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    assert np.array_equal(read_image(path), UPRIGHT[6](stored))
    assert image_size(path) == (3, 2)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("damage", [b"nonsense", b"", b"II*\0\xff\xff\xff\xff", b"MM\0*"])
def test_damaged_exif_leaves_the_pixels_readable(tmp_path, damage):
    rows = [bytes(range(9)), bytes(range(9, 18))]
    path = png(tmp_path / "x.png", 2, 8, rows, 3, before=[(b"eXIf", damage)])
    assert image_size(path) == (2, 3)
    assert read_image(path).reshape(-1).tolist() == list(range(18))


def test_orientation_out_of_range_is_ignored(tmp_path):
    Image.fromarray(noise(3, 5)).save(tmp_path / "x.png", exif=exif(9))
    assert np.array_equal(read_image(tmp_path / "x.png"), noise(3, 5))
    assert image_size(tmp_path / "x.png") == (3, 5)


def test_the_size_of_a_png_needs_no_decoding(tmp_path):
    path = save_noise(tmp_path / "x.png", 40, 50)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])  # the pixels are cut off, the header is whole
    assert image_size(path) == (40, 50)
