"""Pictures that announce more pixels than anyone has: refused by their header, at once, unless
LIIF_MAX_PIXELS allows them."""

import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fuzz.cases import confine, within_limits
from helpers.pictures import encoded, texture
from PIL import Image

from liif.core.errors import UserError
from liif.data.cache import open_images
from liif.images.opening import MAX_PIXELS, RefusedError, check_pixels, max_pixels
from liif.images.rgb8 import image_size, read_image, write_image

pytestmark = pytest.mark.timeout(0)  # `within_limits` has a shorter one


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("LIIF_MAX_PIXELS", raising=False)
    return confine(tmp_path, monkeypatch)


SMALL = Image.new("RGB", (8, 8))
FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (8, 8), "red")]}
FORMATS = ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM"]


def bomb(form, width, height):
    """A small file whose header announces so many pixels."""
    data = bytearray(encoded(SMALL, form, **(FRAMES if form == "WEBP" else {})))

    def put(at, layout, *values):
        struct.pack_into(layout, data, at, *values)

    match form:
        case "PNG":
            put(16, ">II", width, height)
            put(29, ">I", zlib.crc32(data[12:29]))
        case "JPEG":
            put(data.index(b"\xff\xc0") + 5, ">HH", height, width)
        case "TIFF":
            for tag, value in ((256, width), (257, height)):
                put(data.index(struct.pack("<HHI", tag, 4, 1)) + 8, "<I", value)
        case "BMP":
            put(18, "<II", width, height)
        case "GIF":
            put(6, "<HH", width, height)
        case "PPM":
            data[:] = b"P6 %d %d 255\n" % (width, height) + bytes(99)
        case "WEBP":  # knows no larger side
            sides = (min(side, 16383) - 1 for side in (width, height))
            at = data.index(b"VP8X") + 12
            data[at : at + 6] = b"".join(side.to_bytes(3, "little") for side in sides)
    return data


@pytest.mark.parametrize("warnings_are", ["error", "ignore"])
@pytest.mark.parametrize("size", [(60_000, 60_000), (9_500, 9_500)])  # Pillow warns of the second
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("read", [read_image, image_size])
def test_bombs_of_every_format(folder, form, size, read, warnings_are):
    path = folder / "x.png"
    path.write_bytes(bomb(form, *size))
    with within_limits(folder), warnings.catch_warnings():
        warnings.simplefilter(warnings_are)
        with pytest.raises(UserError) as caught:
            read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: cannot read the image: ") and "\n" not in message
    if form == "WEBP" and size[0] > 16383:  # Pillow's own limit comes first
        assert "268402689 pixels" in message
    else:
        assert f"{size[0]}×{size[1]} px are more than {MAX_PIXELS} pixels" in message
        assert "LIIF_MAX_PIXELS" in message


def file_of(path, size):
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_large_photographs_are_no_bombs(folder, monkeypatch):
    """One of 12,000×9000 px in a file of 20 MB, if memory suffices."""
    photo, small = file_of(folder / "x.jpg", 20_000_000), file_of(folder / "y.jpg", 20_000)
    monkeypatch.setattr("liif.images.opening.available_memory", lambda: 4 * 10**9)
    check_pixels(photo, 9000, 12_000)
    with pytest.raises(RefusedError, match="for such a file"):
        check_pixels(small, 9000, 12_000)
    monkeypatch.setattr("liif.images.opening.available_memory", lambda: 10**9)
    with pytest.raises(RefusedError, match=r"memory allows: about 3[.]46 GB are needed"):
        check_pixels(photo, 9000, 12_000)
    monkeypatch.setenv("LIIF_MAX_PIXELS", "108M")
    check_pixels(small, 9000, 12_000)
    monkeypatch.setenv("LIIF_MAX_PIXELS", "107M")
    with pytest.raises(RefusedError, match="107000000"):
        check_pixels(photo, 9000, 12_000)


def test_what_memory_holds_is_still_bounded(folder, monkeypatch):
    monkeypatch.setattr("liif.images.opening.available_memory", lambda: 10**15)
    photo = file_of(folder / "x.jpg", 10**9)
    check_pixels(photo, 32_768, 32_768)
    with pytest.raises(RefusedError, match=r"1073741824 pixels.*LIIF_MAX_PIXELS"):
        check_pixels(photo, 32_768, 32_769)


def test_of_many_frames_one_is_read(folder):
    frames = [Image.new("1", (64, 64), i % 2) for i in range(300)]
    for suffix in ("gif", "tif"):
        frames[0].save(f"x.{suffix}", save_all=True, append_images=frames[1:])
        with within_limits(folder):
            assert read_image(folder / f"x.{suffix}").shape == (64, 64, 3)


def test_a_folder_with_a_bomb_names_it(folder):
    (folder / "x.png").write_bytes(bomb("PNG", 60_000, 60_000))
    with pytest.raises(UserError, match=r"x\.png.*LIIF_MAX_PIXELS.*skip_broken"):
        open_images(folder)


@pytest.mark.parametrize(
    ("text", "limit"),
    [("100", 100), ("2k", 2000), ("1.5M", 1_500_000), ("2G", 2 * 10**9), ("", MAX_PIXELS)],
)
def test_the_limit_as_it_is_written(monkeypatch, text, limit):
    monkeypatch.setenv("LIIF_MAX_PIXELS", text)
    assert max_pixels() == limit


@pytest.mark.parametrize("text", ["0", "-1", "lots", "1e9", "5T", "²", " ", "0.4", "1" * 400])
def test_limits_that_are_none(folder, monkeypatch, text):
    monkeypatch.setenv("LIIF_MAX_PIXELS", text)
    write_image(folder / "x.png", texture(3, 4))
    with pytest.raises(UserError, match=r"LIIF_MAX_PIXELS=.*must be a number of pixels such as"):
        read_image(folder / "x.png")


@pytest.mark.filterwarnings("error")
def test_the_limit_can_be_raised_above_that_of_pillow_and_lowered(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)  # as of somebody who fears more than we do
    image = texture(6, 7)
    for suffix in (".png", ".bmp", ".ppm", ".tif"):
        path = folder / f"x{suffix}"
        write_image(path, image)
        with pytest.raises(UserError, match="7×6 px are more than 5 pixels"):
            read_image(path)
        monkeypatch.setenv("LIIF_MAX_PIXELS", "42")
        assert np.array_equal(read_image(path), image) and image_size(path) == (6, 7)
        monkeypatch.setenv("LIIF_MAX_PIXELS", "41")
        with pytest.raises(UserError, match="more than 41 pixels"):
            read_image(path)
        monkeypatch.delenv("LIIF_MAX_PIXELS")
    frames = [Image.fromarray(image), Image.new("RGB", (7, 6))]
    frames[0].save("x.webp", save_all=True, append_images=frames[1:])
    monkeypatch.setenv("LIIF_MAX_PIXELS", "42")
    with pytest.raises(UserError, match="Pillow's own limit"):  # which it looks at again
        read_image(folder / "x.webp")
    assert Image.MAX_IMAGE_PIXELS == 5


def test_without_a_limit_of_pillow_there_is_ours(monkeypatch):
    assert Image.MAX_IMAGE_PIXELS == MAX_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert max_pixels() == MAX_PIXELS


def test_raising_the_limit_changes_nothing_for_other_threads(folder, monkeypatch):
    monkeypatch.setenv("LIIF_MAX_PIXELS", "10G")
    write_image(folder / "x.png", texture(9, 9))
    (folder / "bomb.png").write_bytes(bomb("PNG", 60_000, 60_000))

    def other(i):
        with pytest.raises(Image.DecompressionBombError):
            Image.open(folder / "bomb.png")
        return read_image(folder / "x.png").shape

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(other, range(50))) == {(9, 9, 3)}
    assert image_size(folder / "bomb.png") == (60_000, 60_000)


@pytest.mark.parametrize("path", ["pipe", "/dev/zero", "/dev/null"])
def test_what_is_no_file_is_not_waited_for(folder, path):
    os.mkfifo("pipe")
    with within_limits(folder), pytest.raises(UserError, match="a pipe or a device, not a file"):
        read_image(Path(path))
