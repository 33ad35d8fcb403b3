"""Images are written completely or not at all."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import noise
from PIL import Image

from liif.core.errors import UserError
from liif.images.rgb8 import read_image, write_image


@pytest.mark.parametrize("suffix", [".png", ".WEBP", ".bmp", ".tif", ".tiff", ".ppm"])
def test_written_images_read_back_the_same(tmp_path, suffix):
    image = noise(7, 9)
    path = tmp_path / "new" / "folder" / f"x{suffix}"
    write_image(path, image)
    assert np.array_equal(read_image(path), image)
    write_image(path, noise(7, 9, 1)[:, ::2])  # replaced; any memory layout
    assert np.array_equal(read_image(path), noise(7, 9, 1)[:, ::2])
    assert os.listdir(path.parent) == [path.name]


def test_jpeg_is_written_close_to_the_image(tmp_path):
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    flat = np.full((64, 64), 99, np.uint8)
    image = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64)), flat], axis=2)
    write_image(tmp_path / "x.jpg", image)
    assert abs(read_image(tmp_path / "x.jpg").astype(int) - image).mean() < 1.5


def test_unknown_suffixes_cannot_be_written(tmp_path):
    for name in ["x.gif", "x.pgm", "x", "x.png.txt"]:
        with pytest.raises(UserError, match=r"\.png"):
            write_image(tmp_path / name, noise(2, 2))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_failed_writes_leave_the_old_file_and_no_other(tmp_path, monkeypatch, number):
    path = tmp_path / "x.png"
    write_image(path, noise(5, 5))

    def fail(image, file, *args, **kwargs):
        Path(file).write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(UserError, match=rf"x\.png.*{os.strerror(number)}"):
        write_image(path, noise(5, 5, 1))
    assert os.listdir(tmp_path) == ["x.png"]
    assert np.array_equal(read_image(path), noise(5, 5))


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(image, file, *args, **kwargs):
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_image(tmp_path / "x.png", noise(5, 5))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_or_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_image(tmp_path / "file" / "x.png", noise(2, 2))
    (tmp_path / "y.png").mkdir()
    with pytest.raises(UserError, match=r"y\.png"):
        write_image(tmp_path / "y.png", noise(2, 2))
    assert sorted(os.listdir(tmp_path)) == ["file", "y.png"]


def test_only_uint8_colour_is_written(tmp_path):
    for image in [
        noise(4, 4)[..., 0],
        noise(4, 4).astype(np.float32),
        np.zeros((2, 2, 4), np.uint8),
    ]:
        with pytest.raises(ValueError, match="uint8"):
            write_image(tmp_path / "x.png", image)


def test_too_large_for_the_format(tmp_path):
    with pytest.raises(UserError, match=r"x\.webp"):
        write_image(tmp_path / "x.webp", np.zeros((1, 16385, 3), np.uint8))
    assert os.listdir(tmp_path) == []
