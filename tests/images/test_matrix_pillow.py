"""JPEG, WebP, AVIF, GIF, JPEG 2000, TGA and ICO files, which Pillow decodes, at all doors."""

import numpy as np
import pytest
from helpers.doors import assert_read_everywhere, assert_refused_everywhere
from helpers.pictures import encoded, texture
from PIL import Image, ImageCms

from liif.images.opening import FORMATS, open_image
from liif.images.photo import read_photo
from liif.images.pillow_frames import stored_bits
from liif.images.rgb8 import read_image

PICTURE = texture(24, 40)
TWELVE_BITS = b"\xff\xd8\xff\xc1\0\x11\x0c\0\x08\0\x08\x03" + bytes(99)
ALPHA = np.random.default_rng(0).integers(0, 256, (24, 40), np.uint8)


def save(path, image, form, **options):
    path.write_bytes(encoded(image, form, **options))
    return path


def with_alpha():
    return Image.fromarray(np.dstack([PICTURE, ALPHA]))


@pytest.mark.parametrize("suffix", ["jpg", "jpe", "jfif", "JPEG", "png", "heic"])  # of any name
def test_gray_and_colour_jpeg(tmp_path, suffix):
    for mode, channels in (("L", 1), ("RGB", 3)):
        image = Image.fromarray(PICTURE).convert(mode)
        path = save(tmp_path / f"x.{suffix}", image, "JPEG", quality=100, subsampling=0)
        colour = next(read_photo(path)).colour
        assert colour.shape == (24, 40, channels)
        assert (
            abs(colour[..., 0].astype(int) - np.asarray(image).reshape(24, 40, -1)[..., 0]).max()
            <= 3
        )
        assert_read_everywhere(path, colour)


def test_cmyk_jpeg(tmp_path):
    ink = Image.fromarray(255 - PICTURE)
    c, m, y = ink.split()
    image = Image.merge("CMYK", [c, m, y, Image.new("L", ink.size, 0)])
    path = save(tmp_path / "x.jpg", image, "JPEG", quality=100, subsampling=0)
    assert b"Adobe" in path.read_bytes()  # which says that inks are inverted
    colour = next(read_photo(path)).colour
    assert abs(colour.astype(int) - PICTURE).max() <= 6
    assert np.array_equal(read_image(path), colour)


def test_ycck_jpeg(tmp_path):
    """As Adobe's programs write it: the inks C, M and Y as Y, Cb and Cr, all inverted."""
    y, cb, cr = Image.fromarray(255 - PICTURE).convert("YCbCr").split()
    planes = [Image.eval(each, lambda v: 255 - v) for each in (y, cb, cr)]  # Pillow inverts again
    image = Image.merge("CMYK", [*planes, Image.new("L", y.size, 0)])
    data = bytearray(encoded(image, "JPEG", quality=100, subsampling=0))
    data[data.index(b"Adobe") + 11] = 2
    (tmp_path / "x.jpg").write_bytes(data)
    colour = next(read_photo(tmp_path / "x.jpg")).colour
    assert abs(colour.astype(int) - PICTURE).max() <= 8
    assert np.array_equal(read_image(tmp_path / "x.jpg"), colour)


def test_cmyk_with_a_profile_is_the_same_at_all_doors(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(PICTURE).convert("CMYK")
    path = save(tmp_path / "x.jpg", image, "JPEG", quality=100, icc_profile=profile)
    assert_read_everywhere(path, next(read_photo(path)).colour)


@pytest.mark.parametrize(
    ("form", "options"),
    [("WEBP", {"lossless": True, "exact": True}), ("TGA", {}), ("TGA", {"compression": "tga_rle"}),
     ("JPEG2000", {"irreversible": False}), ("ICO", {"sizes": [(40, 24)]}), ("PNG", {}),
     ("AVIF", {"quality": 100, "subsampling": "4:4:4"})],
    ids=str,
)  # fmt: skip
def test_colour_with_and_without_alpha(tmp_path, form, options):
    if form not in (*FORMATS, "TGA"):
        pytest.skip(f"Pillow is built without {form}")
    suffix = {"JPEG2000": "jp2"}.get(form, form.lower())
    for image in (Image.fromarray(PICTURE), with_alpha()):
        path = save(tmp_path / f"x.{suffix}", image, form, **options)
        photo = next(read_photo(path))
        if form == "AVIF":  # rounds
            assert abs(photo.colour.astype(int) - PICTURE).max() <= 9
            assert_read_everywhere(path, photo.colour, photo.alpha)
        else:
            assert_read_everywhere(path, PICTURE, ALPHA if image.mode == "RGBA" else None)


def test_gif_with_a_transparent_colour(tmp_path):
    index = np.arange(24 * 40, dtype=np.uint8).reshape(24, 40) % 16
    palette = np.random.default_rng(0).integers(0, 256, (16, 3), np.uint8)
    image = Image.fromarray(index)
    image.putpalette(palette.ravel().tolist())
    path = save(tmp_path / "x.gif", image, "GIF", transparency=3)
    alpha = np.where(index == 3, 0, 255).astype(np.uint8)
    assert_read_everywhere(path, palette[index], alpha)


@pytest.mark.parametrize("bits", [8, 16])
def test_gray_jpeg_2000(tmp_path, bits):
    numbers = np.random.default_rng(0).integers(0, 2**bits, (24, 40)).astype(f"u{bits // 8}")
    path = save(tmp_path / "x.j2k", Image.fromarray(numbers), "JPEG2000", irreversible=False)
    assert_read_everywhere(path, numbers[..., None])


@pytest.mark.skipif("AVIF" not in FORMATS, reason="Pillow is built without AVIF")
def test_more_bits_than_are_read_are_noticed(tmp_path):
    whole = save(tmp_path / "whole.avif", Image.fromarray(PICTURE), "AVIF")
    data = bytearray(whole.read_bytes())
    data[data.index(b"av1C") + 6] |= 0x40  # the header says 10 bits
    (tmp_path / "x.avif").write_bytes(data)
    with open_image(whole) as image:
        assert stored_bits(image, whole) == 8 and stored_bits(image, tmp_path / "x.avif") == 10


def test_secondary_pictures_are_told(tmp_path, caplog):
    """As of phones that store a map of depth or of light behind the picture."""
    first, second = Image.fromarray(PICTURE), Image.new("RGB", (8, 8))
    path = save(
        tmp_path / "x.jpg", first, "MPO", save_all=True, append_images=[second], quality=100
    )
    photos = list(read_photo(path))
    assert len(photos) == 1 and photos[0].size == (24, 40)
    assert "not read besides the image: 1 picture" in caplog.text


def test_the_largest_icon_is_read(tmp_path, caplog):
    path = save(tmp_path / "x.ico", with_alpha(), "ICO", sizes=[(10, 6), (40, 24)])
    assert_read_everywhere(path, PICTURE, ALPHA)
    assert "the largest of 2 icons is read" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.cr3", b"\0\0\0\x18ftypcrx " + bytes(99), "a camera raw file; develop it"),
        ("x.orf", b"IIRO" + bytes(99), "a camera raw file; develop it"),
        ("x.rw2", b"IIU\0" + bytes(99), "a camera raw file; develop it"),
        ("x.raf", b"FUJIFILMCCD-RAW " + bytes(99), "a camera raw file; develop it"),
        (
            "x.jpg",
            TWELVE_BITS,
            "JPEG file .* not read",
        ),
        ("x.png", b"\x89PNG\r\n\x1a\n" + bytes(99), "PNG file that is damaged"),
        ("x.psd", b"8BPS\0\1" + bytes(99), "not an image of a known format"),
    ],
)
def test_what_is_not_read_is_refused_with_the_true_reason(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    assert_refused_everywhere(tmp_path / name, reason)
