"""Files that are damaged, no images, too large or closed: one line each, never a traceback."""

import errno
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import exif, noise, save_noise
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
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "eps.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name, reason in [
        ("empty.png", "the file is empty"),
        ("text.png", "not an image"),
        ("folder.png", "Is a directory"),
        ("missing.png", "No such file"),
        ("eps.png", "not an image"),
    ]:
        with pytest.raises(UserError, match=reason) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp", ".gif"])
def test_random_damage_is_a_user_error_or_a_picture(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    Image.fromarray(noise(24, 24)).save(path, exif=exif(6))
    data = path.read_bytes()
    generator = np.random.default_rng(1)
    failures = 0
    for _ in range(60):
        damaged = bytearray(data)
        for position in generator.integers(0, len(data), 6):
            damaged[position] = generator.integers(256)
        path.write_bytes(damaged)
        for read in (image_size, read_image):
            try:
                read(path)
            except UserError:
                failures += 1
    assert failures > 0


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [99, 40])  # Pillow only warns at the first, raises at the second
@pytest.mark.parametrize("read", [read_image, image_size])
def test_decompression_bomb(tmp_path, monkeypatch, limit, read):
    path = save_noise(tmp_path / "x.png", 10, 10)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UserError, match=rf"x\.png.*more than {limit} pixels"):
        read(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    read(path)


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_where_warnings_are_errors(tmp_path, monkeypatch):
    path = save_noise(tmp_path / "x.png", 10, 10)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 99)
    with pytest.raises(UserError, match="more than 99 pixels"):
        read_image(path)


def test_a_file_closed_to_the_reader(tmp_path, monkeypatch):
    path = save_noise(tmp_path / "x.png")

    def closed(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(UserError, match=r"x\.png.*Permission denied"):
        read_image(path)


def test_pillow_is_left_as_it_was_found():
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert Image.MAX_IMAGE_PIXELS == 1024**3 // 4 // 3
