"""Any bytes under any image's name: a picture of the size that was told before, or a UserError."""

import numpy as np
import pytest
from helpers.pictures import encoded
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fuzz.cases import confine, damaged, many, within_limits
from liif.core.errors import UserError
from liif.images.rgb8 import image_size, read_image
from liif.images.suffixes import SUFFIXES

pytestmark = [
    pytest.mark.timeout(0),  # cases have their own
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 13, 4), dtype=np.uint8)
RGBA = Image.fromarray(PIXELS)
RGB = RGBA.convert("RGB")
WIDE = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
EXIF = Image.Exif()
EXIF[274] = 6  # turned


def modes(form, *names, **options):
    return [encoded(RGBA.convert(name), form, **options) for name in names]


FLOATS = modes("TIFF", "F")  # beyond 0 to 1, and refused
FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (13, 9), "red")]}
SEEDS = [
    *FLOATS,
    *modes("PNG", "1", "L", "LA", "P", "RGB", "RGBA"),
    encoded(WIDE, "PNG"),
    encoded(RGB.convert("P"), "PNG", transparency=3),
    encoded(RGB, "PNG", exif=EXIF),
    encoded(RGB, "PNG", **FRAMES),
    *modes("JPEG", "L", "RGB", "CMYK"),
    encoded(RGB, "JPEG", exif=EXIF, progressive=True),
    *modes("WEBP", "RGB", "RGBA"),
    encoded(RGBA, "WEBP", lossless=True, exif=EXIF),
    encoded(RGB, "WEBP", **FRAMES),
    *modes("BMP", "1", "L", "P", "RGB", "RGBA"),
    *modes("TIFF", "1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I"),
    *(encoded(RGB, "TIFF", compression=kind, exif=EXIF)
      for kind in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
    encoded(RGB.convert("1"), "TIFF", compression="group4"),
    encoded(WIDE, "TIFF"),
    encoded(RGB, "TIFF", **FRAMES),
    *modes("PPM", "1", "L", "RGB"),
    encoded(WIDE, "PPM"),
    b"P3 2 2 255 " + b"1 2 3 " * 4,
    b"Pf 2 2 -1.0\n" + bytes(16),
    b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n" + bytes(16),
    encoded(RGB, "GIF"),
    encoded(RGB, "GIF", **FRAMES),
]  # fmt: skip
STARTS = sorted({seed[:n] for seed in SEEDS for n in (2, 8, 16, 30)})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LIIF_MAX_PIXELS", "4M")  # for speed; above, nothing else is different
    return confine(tmp_path, monkeypatch)


def check(folder, data, suffix):
    """Whether it is a picture."""
    path = folder / f"x{suffix}"
    path.write_bytes(data)
    with within_limits(folder):
        told = outcome(image_size, path)
        pixels = outcome(read_image, path)
    for message in (told, pixels):
        assert not isinstance(message, str) or is_clean(message, path)
    if isinstance(pixels, str):
        return False
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    assert told == pixels.shape[:2] and 0 < pixels.size <= 12e6
    return True


def outcome(read, path):
    try:
        return read(path)
    except UserError as error:
        return str(error)


def is_clean(message, path):
    return message.startswith(f"{path}: ") and len(message.splitlines()) == 1 and len(message) < 500


@pytest.mark.parametrize("seed", SEEDS)
def test_the_seeds_are_pictures(folder, seed):
    assert check(folder, seed, ".png") == (seed not in FLOATS)


@many
@given(data=damaged(SEEDS), suffix=st.sampled_from(SUFFIXES))
def test_damaged_pictures(folder, data, suffix):
    check(folder, data, suffix)


@many
@given(start=st.sampled_from(STARTS) | st.just(b""), rest=st.binary(max_size=120))
def test_random_bytes(folder, start, rest):
    check(folder, start + rest, ".png")
