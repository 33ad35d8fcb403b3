"""Files that are damaged, no images or not readable lead to one-line errors."""

import errno
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import save_noise
from PIL import Image, ImageFile

from liif.core.errors import UserError
from liif.images.rgb8 import image_size, read_image


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp", ".ppm"])
def test_truncated(tmp_path, suffix):
    path = save_noise(tmp_path / f"x{suffix}", 64, 64)
    data = path.read_bytes()
    for part in (0.95, 0.6, 0.2):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(UserError) as caught:
            read_image(path)
        assert str(caught.value).startswith(f"{path}: cannot read the image: ")


@pytest.mark.parametrize("read", [read_image, image_size])
def test_not_an_image(tmp_path, read):
    (tmp_path / "empty.png").touch()
    (tmp_path / "short.png").write_text("no")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "eps.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name, reason in [
        ("empty.png", "the file is empty"),
        ("short.png", "not an image of a known format, or damaged"),
        ("text.png", "not an image"),
        ("folder.png", "Is a directory"),
        ("missing.png", "No such file"),
        ("eps.png", "not an image"),
    ]:
        with pytest.raises(UserError, match=reason) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_file_without_read_permission(tmp_path, monkeypatch):
    path = save_noise(tmp_path / "x.png")

    def closed(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(UserError, match=r"x\.png.*Permission denied"):
        read_image(path)


def test_settings_of_pillow_are_unchanged():
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert Image.MAX_IMAGE_PIXELS == 1024**3 // 4 // 3


@pytest.mark.parametrize(
    "blocks",
    [b"8BIM\x04\x04", b"8BIM", b"8BIM\x04\x04\x00", b"8BIM\x04\x04\x00\x00\x00\x00\x00\x09"],
)
def test_damaged_data_of_photoshop_do_not_cost_the_pixels(tmp_path, blocks):
    Image.new("RGB", (9, 8), (200, 100, 50)).save(tmp_path / "a.jpg")
    data, segment = (tmp_path / "a.jpg").read_bytes(), b"Photoshop 3.0\0" + blocks
    head = b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment
    (tmp_path / "b.jpg").write_bytes(data[:2] + head + data[2:])
    assert np.array_equal(read_image(tmp_path / "b.jpg"), read_image(tmp_path / "a.jpg"))
