"""PNG files written strip by strip."""

import io
import struct
import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from liif.images.png import PngWriter


def written(image, cuts=(), **notes):
    file = io.BytesIO()
    png = PngWriter(file, image.shape[:2], image.shape[2], 8 * image.itemsize, **notes)
    for strip in np.split(image, sorted(cuts)):
        if len(strip):
            png.write(strip)
    png.finish()
    return file.getvalue()


@given(st.integers(1, 150), st.integers(1, 9), st.integers(0, 99), st.lists(st.integers(0, 150)))
def test_pillow_reads_back_every_pixel(height, width, seed, cuts):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    with Image.open(io.BytesIO(written(image, [c for c in cuts if c <= height]))) as file:
        assert (file.format, file.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(file), image)


KINDS = [(np.uint8, 1), (np.uint8, 2), (np.uint8, 4), *((np.uint16, c) for c in (1, 2, 3, 4))]


@given(st.integers(1, 80), st.integers(1, 9), st.sampled_from(KINDS), st.integers(0, 99))
def test_every_kind_reads_back(height, width, kind, seed):
    """By an independent reading of the format, as Pillow keeps 8 of 16 bits."""
    sample, channels = kind
    image = np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(sample)
    image *= np.array(np.iinfo(sample).max // 255, sample)
    image[0, 0] = 1
    data = written(image, [height // 2])
    assert np.array_equal(decoded(data), image)
    with Image.open(io.BytesIO(data)) as file:
        file.load()
        assert file.size == (width, height)


def decoded(data):
    """A PNG of no interlacing to its samples: sections 5, 7 and 9 of the standard, byte by byte."""
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
    channels, packed, at = {0: 1, 4: 2, 2: 3, 6: 4}[colour], b"", 8
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        packed += data[at + 8 : at + 8 + length] if name == b"IDAT" else b""
        at += 12 + length
    raw, step = zlib.decompress(packed), channels * bits // 8
    above, rows = [0] * (width * step), []
    for start in range(0, len(raw), width * step + 1):
        row = list(raw[start + 1 : start + 1 + width * step])
        for i in range(len(row)):
            a, b = row[i - step] if i >= step else 0, above[i]
            c = above[i - step] if i >= step else 0
            nearest = min((a, b, c), key=lambda x: abs(a + b - c - x))
            row[i] = (row[i] + (0, a, b, (a + b) // 2, nearest)[raw[start]]) % 256
        rows.append(bytes(row))
        above = row
    return np.frombuffer(b"".join(rows), f">u{bits // 8}").reshape(height, width, channels)


def test_profile_and_exif():
    exif = Image.Exif()
    exif[271] = "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    chunks = [(b"iCCP", b"name\0\0" + zlib.compress(profile)), (b"eXIf", exif.tobytes()[6:])]
    with Image.open(io.BytesIO(written(np.zeros((2, 3, 3), np.uint8), chunks=chunks))) as file:
        assert file.info["icc_profile"] == profile and file.getexif()[271] == "Maker"


def test_filters_make_files_smaller():
    """A smooth picture, each third of which another filter suits; Pillow's size is the measure."""
    y, x = np.mgrid[:192, :256]
    third = np.stack([x, x // 2, 255 - x], axis=-1), np.stack([y, y, y // 2], axis=-1)
    image = np.concatenate([*third, np.stack([x + y, x + 2 * y, 2 * x + y], axis=-1)]) % 256
    image = image.astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    assert len(written(image)) < 1.2 * len(file.getvalue()) < image.size / 20
