"""HEIC, JPEG XL and rare TIFF compressions: read with the packages of liif[formats], else refused
with what to install; files that are passed over are told."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from helpers.doors import assert_read_everywhere, assert_refused_everywhere
from helpers.pictures import encoded, texture
from PIL import Image

from liif.data.cache import open_images
from liif.data.pairs import open_pairs
from liif.images.photo import read_photo
from liif.images.rgb8 import write_image
from liif.images.suffixes import passed_over

HEIC = b"\0\0\0\x18ftypheic" + bytes(99)
JXL = b"\xff\x0a" + bytes(99)


@pytest.mark.parametrize(("suffix", "content"), [(".heic", HEIC), (".HEIF", HEIC), (".jxl", JXL)])
def test_without_the_package_it_is_named(tmp_path, monkeypatch, suffix, content):
    for name in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, name, None)
    for form in ("HEIF", "JXL"):
        monkeypatch.delitem(Image.OPEN, form, raising=False)
    (tmp_path / f"x{suffix}").write_bytes(content)
    assert_refused_everywhere(tmp_path / f"x{suffix}", r"need the package pillow_.*liif\[formats\]")


def test_jpeg_xl(tmp_path):
    pytest.importorskip("pillow_jxl", reason='pip install "liif[formats]"')
    picture = texture(12, 20)
    (tmp_path / "x.jxl").write_bytes(encoded(Image.fromarray(picture), "JXL", lossless=True))
    assert_read_everywhere(tmp_path / "x.jxl", picture)


def test_heic(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason='pip install "liif[formats]"')
    heif.register_heif_opener()
    picture = texture(64, 48)
    (tmp_path / "x.heic").write_bytes(encoded(Image.fromarray(picture), "HEIF", quality=100))
    colour = next(read_photo(tmp_path / "x.heic")).colour
    assert abs(colour.astype(int) - picture).mean() < 8
    assert_read_everywhere(tmp_path / "x.heic", colour)


def test_tiff_of_a_rare_compression(tmp_path):
    pytest.importorskip("imagecodecs", reason='pip install "liif[formats]"')
    picture = texture(12, 20).astype(np.uint16) * 257
    options = {"compression": "jpeg2000", "compressionargs": {"level": 0}}
    tifffile.imwrite(tmp_path / "x.tif", picture, photometric="rgb", **options)
    assert_read_everywhere(tmp_path / "x.tif", picture)


def test_what_is_passed_over_is_counted():
    assert passed_over(["a.png", "b.JPG", "c.jfif", "d.tga", "e.jp2"]) is None
    said = passed_over(["a.png", "b.psd", "c.PSD", "d", "e.nef"])
    assert said == "4 files passed over: 1 .nef, 2 .psd, 1 no suffix"
    assert passed_over(["a.psd"]) == "1 file passed over: 1 .psd"


def test_data_sets_say_what_they_pass_over(tmp_path, caplog):
    write_image(tmp_path / "set" / "a.png", texture(8, 8))
    (tmp_path / "set" / "b.psd").touch()
    (tmp_path / "set" / "c.xyz").touch()
    for read in (open_images, lambda path: open_pairs(path, scale=(2, 2))):
        caplog.clear()
        with caplog.at_level(logging.INFO, "liif"):
            assert read(tmp_path / "set").names in (["a.png"], ["a"])
        assert caplog.text.count("2 files passed over: 1 .psd, 1 .xyz") == 1


def test_suffixes_are_known_without_an_image_library():
    code = "import sys, liif.images.suffixes; assert 'PIL.Image' not in sys.modules, 'slow'"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
