"""Image files: what is listed, how each kind is decoded, and the three ways to hold a folder."""

import errno
import logging
import multiprocessing
import os
import pickle
import shutil
import struct
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile
from PIL import __version__ as pillow_version

from liif.data import mapped
from liif.data.cache import open_images
from liif.data.images import image_size, list_images, read_image, write_image
from liif.errors import UserError

PILLOW = int(pillow_version.split(".")[0])


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_noise(path, height=6, width=8, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(height, width, seed)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three images of different sizes; names[i] has seed i."""
    root = tmp_path / "photos"
    save_noise(root / "a.png", 6, 8, 0)
    save_noise(root / "b.png", 9, 5, 1)
    save_noise(root / "sub" / "c.png", 4, 4, 2)
    return root


EXPECTED = [noise(6, 8, 0), noise(9, 5, 1), noise(4, 4, 2)]


def assert_holds_all(store):
    assert store.names == ["a.png", "b.png", "sub/c.png"]
    assert store.sizes == [(6, 8), (9, 5), (4, 4)]
    assert len(store) == 3 and store.skipped == []
    for i, expected in enumerate(EXPECTED):
        assert store[i].dtype == np.uint8
        assert np.array_equal(store[i], expected)


# ---------------------------------------------------------------- listing


def test_list_is_recursive_sorted_by_posix_path_and_knows_images_by_suffix(tmp_path):
    wanted = ["A.PNG", "b/z.jpeg", "b/z/a.Tif", "b.webp", "c.bmp", "d.jpg", "e.tiff", "f.ppm"]
    wanted += ["g.pgm"]
    other = ["Thumbs.db", "notes.txt", "h.gif", ".hidden.png", ".cache/i.png", "b/.DS_Store", "png"]
    for name in wanted + other:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [file.relative_to(tmp_path).as_posix() for file in list_images(tmp_path)]
    assert found == sorted(wanted)


def test_list_follows_links_and_survives_loops(folder, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(folder)
    (root / "loop").symlink_to(root)
    (root / "gone.png").symlink_to(tmp_path / "nothing.png")
    found = [file.relative_to(root).as_posix() for file in list_images(root)]
    assert found == ["linked/a.png", "linked/b.png", "linked/sub/c.png"]


def test_list_of_a_single_file(folder):
    assert list_images(folder / "a.png") == [folder / "a.png"]


def test_missing_and_empty_folders_name_the_place_and_the_way_out(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").touch()
    monkeypatch.chdir(tmp_path)
    for name in ["missing", "empty", "empty/readme.txt"]:
        with pytest.raises(UserError) as caught:
            list_images(Path(name))
        message = str(caught.value)
        assert message.startswith(str(tmp_path / name))
        for part in [".png", "--set data_root=", "LIIF_DATA", "datasets/README.md"]:
            assert part in message


def test_a_folder_that_cannot_be_listed(folder, monkeypatch):
    def closed(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UserError, match="Permission denied"):
        list_images(folder)


# ---------------------------------------------------------------- colour modes

GRAY = np.array([[0, 60, 128], [200, 254, 255]], np.uint8)
GRAY3 = np.repeat(GRAY[..., None], 3, axis=2)


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


WIDE = np.array([[0, 255, 256], [0x1234, 0xFEFF, 0xFFFF]], np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_gray_keeps_its_high_byte(tmp_path, suffix):
    image = Image.fromarray(WIDE.astype(np.int32) if suffix == ".pgm" else WIDE)
    pixels = read_saved(image, tmp_path / f"x{suffix}")
    assert pixels[..., 0].tolist() == [[0, 0, 1], [0x12, 0xFE, 0xFF]]
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_32_bit_gray_within_16_bit_is_taken_for_16_bit(tmp_path):
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


def png(path, colour_type, depth, rows, width, *chunks_after, before=()):
    """A PNG with any chunks, some of which Pillow does not write itself."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), *before, (b"IDAT", pixels), *chunks_after, (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*item) for item in chunks))
    return path


def test_16_bit_colour_keeps_its_high_byte(tmp_path):
    rows = [struct.pack(">6H", 0x1234, 0xFFFF, 0x00FF, 0x8001, 0x7FFF, 0x0100)]
    pixels = read_image(png(tmp_path / "x.png", 2, 16, rows, 2))
    assert pixels.tolist() == [[[0x12, 0xFF, 0], [0x80, 0x7F, 1]]]


@pytest.mark.parametrize("value", [65536, -1])
def test_integers_beyond_16_bit_are_refused(tmp_path, value):
    Image.fromarray(np.array([[0, value]], np.int32)).save(tmp_path / "x.tif")
    with pytest.raises(UserError, match=r"x\.tif.*beyond the 16-bit range"):
        read_image(tmp_path / "x.tif")


def test_floats_are_refused(tmp_path):
    Image.fromarray(np.array([[0.0, 0.5]], np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(UserError, match=r"x\.tif.*floating-point"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".gif"])
def test_the_first_frame_is_read(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    options = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(tmp_path / f"x{suffix}", save_all=True, append_images=frames[1:], **options)
    pixels = read_image(tmp_path / f"x{suffix}")
    assert pixels.shape == (3, 4, 3)
    assert (pixels == [255, 0, 0]).all()


# ---------------------------------------------------------------- orientation

# Where the corners of the stored image belong, by the EXIF standard: (row 0 side, column 0 side).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],  # row 0 top, column 0 right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.transpose(1, 0, 2),  # left, top
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],  # right, top: turn clockwise
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda a: a.transpose(1, 0, 2)[::-1],  # left, bottom: turn anticlockwise
}


def exif(orientation):
    tags = Image.Exif()
    tags[274] = orientation
    return tags


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


# ---------------------------------------------------------------- broken files


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


# ---------------------------------------------------------------- writing


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


# ---------------------------------------------------------------- stores

CACHES = ["none", "memory", "mmap"]


@pytest.fixture
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("LIIF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files decoded so far."""
    names = []

    def read(path):
        names.append(path.name)
        return read_image(path)

    monkeypatch.setattr(mapped, "read_image", read)
    return names


def cache_folders(cache_dir):
    return sorted(path for path in cache_dir.iterdir() if path.is_dir())


@pytest.mark.parametrize("cache", CACHES)
def test_every_store_holds_the_same(folder, cache_dir, cache):
    store = open_images(folder, cache=cache)
    assert_holds_all(store)
    assert np.array_equal(store[-1], EXPECTED[2])
    assert np.array_equal(store[np.int64(1)], EXPECTED[1])
    assert [image.shape for image in store] == [(6, 8, 3), (9, 5, 3), (4, 4, 3)]
    for index in (3, -4):
        with pytest.raises(IndexError):
            store[index]


@pytest.mark.parametrize("cache", CACHES)
def test_a_single_file_is_a_store_of_one(folder, cache_dir, cache):
    store = open_images(folder / "sub" / "c.png", cache=cache)
    assert store.names == ["c.png"] and store.sizes == [(4, 4)]
    assert np.array_equal(store[0], EXPECTED[2])


@pytest.mark.parametrize("cache", ["memory", "mmap"])
def test_shared_pixels_cannot_be_changed(folder, cache_dir, cache):
    image = open_images(folder, cache=cache)[0]
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0, 0] = 1


def test_sizes_are_known_without_decoding(folder, cache_dir, monkeypatch):
    def forbidden(path):
        raise AssertionError("decoded")

    monkeypatch.setattr("liif.data.cache.read_image", forbidden)
    assert open_images(folder).sizes == [(6, 8), (9, 5), (4, 4)]


def test_turned_photographs_have_their_upright_size_everywhere(tmp_path, cache_dir):
    (tmp_path / "photos").mkdir()
    Image.fromarray(noise(3, 5)).save(tmp_path / "photos" / "x.png", exif=exif(6))
    for cache in CACHES:
        store = open_images(tmp_path / "photos", cache=cache)
        assert store.sizes == [(5, 3)]
        assert np.array_equal(store[0], UPRIGHT[6](noise(3, 5)))


def read_all(store):
    return [np.array(store[i]) for i in range(len(store))], os.getpid()


@pytest.mark.parametrize("cache", CACHES)
def test_stores_travel_into_spawned_workers(folder, cache_dir, cache):
    store = open_images(folder, cache=cache)
    assert_holds_all(pickle.loads(pickle.dumps(store)))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        images, process = pool.submit(read_all, store).result(timeout=60)
    assert process != os.getpid()
    assert all(np.array_equal(a, b) for a, b in zip(images, EXPECTED, strict=True))


def test_a_mapping_is_not_copied_when_pickled(tmp_path, cache_dir):
    save_noise(tmp_path / "photos" / "x.png", 300, 300)
    store = open_images(tmp_path / "photos", cache="mmap")
    assert len(pickle.dumps(store)) < 1000
    again = pickle.loads(pickle.dumps(store))
    assert np.array_equal(again[0], noise(300, 300))
    with pytest.raises(ValueError, match="read-only"):
        again[0][0] = 0


# ---------------------------------------------------------------- the mapped cache


def test_the_cache_is_built_once_and_found_again(folder, cache_dir, decoded):
    assert_holds_all(open_images(folder, cache="mmap"))
    assert sorted(decoded) == ["a.png", "b.png", "c.png"]
    (made,) = cache_folders(cache_dir)
    assert sorted(os.listdir(made)) == ["index.json", "pixels.u8"]
    pixels = np.fromfile(made / "pixels.u8", np.uint8)
    assert np.array_equal(pixels, np.concatenate([image.reshape(-1) for image in EXPECTED]))
    decoded.clear()
    assert_holds_all(open_images(folder, cache="mmap"))
    assert decoded == [] and cache_folders(cache_dir) == [made]


def test_relative_and_absolute_paths_share_a_cache(folder, cache_dir, decoded, monkeypatch):
    open_images(folder, cache="mmap")
    decoded.clear()
    monkeypatch.chdir(folder.parent)
    assert_holds_all(open_images(Path(folder.name), cache="mmap"))
    assert decoded == []


def test_the_place_of_the_cache(folder, tmp_path, monkeypatch):
    def made_in(place):
        return any(path.name == "pixels.u8" for path in place.rglob("*"))

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LIIF_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    open_images(folder, cache="mmap")
    assert made_in(tmp_path / "home" / ".cache" / "liif")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    open_images(folder, cache="mmap")
    assert made_in(tmp_path / "xdg" / "liif")
    monkeypatch.setenv("LIIF_CACHE", str(tmp_path / "own"))
    open_images(folder, cache="mmap")
    assert made_in(tmp_path / "own")
    open_images(folder, cache="mmap", cache_dir=tmp_path / "given")
    assert made_in(tmp_path / "given")


def rewrite(folder):
    save_noise(folder / "b.png", 9, 5, 7)


def rewrite_and_keep_the_time(folder):
    before = (folder / "b.png").stat()
    save_noise(folder / "b.png", 9, 6, 7)
    assert (folder / "b.png").stat().st_size != before.st_size
    os.utime(folder / "b.png", ns=(before.st_atime_ns, before.st_mtime_ns))


def touch(folder):
    now = time.time_ns()
    os.utime(folder / "b.png", ns=(now, now + 12345))


def add(folder):
    save_noise(folder / "z.png", 2, 3, 9)


def remove(folder):
    (folder / "a.png").unlink()


def rename(folder):
    (folder / "a.png").rename(folder / "d.png")


@pytest.mark.parametrize("change", [rewrite, rewrite_and_keep_the_time, touch, add, remove, rename])
def test_the_cache_is_made_anew_when_the_folder_changes(folder, cache_dir, decoded, change):
    old = open_images(folder, cache="mmap")
    (stale,) = cache_folders(cache_dir)
    decoded.clear()
    change(folder)
    store = open_images(folder, cache="mmap")
    assert len(decoded) == len(store)
    files = list_images(folder)
    assert store.names == [file.relative_to(folder).as_posix() for file in files]
    for i, file in enumerate(files):
        assert np.array_equal(store[i], read_image(file))
    (fresh,) = cache_folders(cache_dir)
    assert fresh != stale
    assert np.array_equal(old[0], EXPECTED[0])  # who has the old one open keeps it


def test_caches_of_other_folders_are_left_alone(folder, tmp_path, cache_dir):
    save_noise(tmp_path / "other" / "x.png")
    open_images(tmp_path / "other", cache="mmap")
    open_images(folder, cache="mmap")
    rewrite(folder)
    open_images(folder, cache="mmap")
    assert len(cache_folders(cache_dir)) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_an_interrupted_build_is_not_taken_for_a_cache(folder, cache_dir, monkeypatch, error):
    def interrupted(path):
        if path.name == "b.png":
            raise error
        return read_image(path)

    with monkeypatch.context() as patch:
        patch.setattr(mapped, "read_image", interrupted)
        with pytest.raises((KeyboardInterrupt, UserError)) as caught:
            open_images(folder, cache="mmap")
    if isinstance(error, OSError):
        assert "No space left" in str(caught.value) and "LIIF_CACHE" in str(caught.value)
    assert cache_folders(cache_dir) == []
    assert_holds_all(open_images(folder, cache="mmap"))


def test_what_a_killed_build_left_is_cleaned_up(folder, cache_dir, decoded):
    open_images(folder, cache="mmap")
    (made,) = cache_folders(cache_dir)
    leftover = made.with_name(f"{made.name}-0123.tmp")
    made.rename(leftover)
    (leftover / "index.json").unlink()
    foreign = cache_dir / "somebody-elses.tmp"
    foreign.mkdir()
    decoded.clear()
    assert_holds_all(open_images(folder, cache="mmap"))
    assert len(decoded) == 3
    assert cache_folders(cache_dir) == sorted([made, foreign])


@pytest.mark.parametrize("damage", ["short", "no pixels", "no index", "bad index", "wrong index"])
def test_a_damaged_cache_is_made_anew(folder, cache_dir, damage):
    open_images(folder, cache="mmap")
    (made,) = cache_folders(cache_dir)
    if damage == "short":
        os.truncate(made / "pixels.u8", 100)
    elif damage == "no pixels":
        (made / "pixels.u8").unlink()
    elif damage == "no index":
        (made / "index.json").unlink()
    else:
        (made / "index.json").write_text("{" if damage == "bad index" else '{"sizes": [1]}')
    assert_holds_all(open_images(folder, cache="mmap"))
    assert cache_folders(cache_dir) == [made]


def open_slowly(folder, start):
    """In a process of its own: open a store while another does, tell what was decoded."""
    names = []

    def read(path):
        names.append(path.name)
        time.sleep(0.2)
        return read_image(path)

    mapped.read_image = read
    time.sleep(max(0.0, start - time.time()))
    images, _ = read_all(open_images(folder, cache="mmap"))
    return images, len(names)


@pytest.mark.parametrize("locks", [True, False])
def test_two_processes_at_once_both_end_with_a_good_cache(folder, cache_dir, monkeypatch, locks):
    if not locks:  # as on a network disk without them; the workers are forked from here

        def no_locks(*args):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(mapped.fcntl, "flock", no_locks)
    start = time.time() + 0.5
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        jobs = [pool.submit(open_slowly, folder, start) for _ in range(2)]
        results = [job.result(timeout=60) for job in jobs]
    for images, _ in results:
        assert all(np.array_equal(a, b) for a, b in zip(images, EXPECTED, strict=True))
    assert sorted(count for _, count in results) == ([0, 3] if locks else [3, 3])
    assert len(cache_folders(cache_dir)) == 1
    assert_holds_all(open_images(folder, cache="mmap"))


def test_a_closed_cache_folder(folder, tmp_path, cache_dir, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as caught:
        open_images(folder, cache="mmap", cache_dir=tmp_path / "file" / "cache")
    message = str(caught.value)
    assert str(tmp_path / "file" / "cache") in message
    assert "LIIF_CACHE" in message and "cache: none" in message

    open_images(folder, cache="mmap")  # a cache that is there needs no writing

    def closed(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", closed)
        patch.setattr(mapped, "_lock", closed)
        assert_holds_all(open_images(folder, cache="mmap"))
    rewrite(folder)
    monkeypatch.setattr(mapped, "_lock", closed)
    with pytest.raises(UserError, match=r"cache.*Permission denied"):
        open_images(folder, cache="mmap")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_folder(folder, cache_dir):
    cache_dir.mkdir()
    cache_dir.chmod(0o500)
    with pytest.raises(UserError, match="LIIF_CACHE"):
        open_images(folder, cache="mmap")
    cache_dir.chmod(0o700)


def test_no_room_from_the_start(folder, cache_dir, monkeypatch, decoded):
    needed = 3 * (6 * 8 + 9 * 5 + 4 * 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 674, 326))
    with pytest.raises(UserError) as caught:
        open_images(folder, cache="mmap")
    message = str(caught.value)
    for part in [str(cache_dir), f"{needed} bytes", "326", "LIIF_CACHE", "cache: none"]:
        assert part in message
    assert decoded == [] and cache_folders(cache_dir) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 0, needed))
    assert_holds_all(open_images(folder, cache="mmap"))


def test_no_room_half_way(folder, cache_dir, monkeypatch):
    free = iter([10_000, 10_000, 150])  # before, before the first image, before the second
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10_000, 0, next(free))
    )
    with pytest.raises(UserError, match=r"183 bytes here and 150 are free"):
        open_images(folder, cache="mmap")
    assert cache_folders(cache_dir) == []


def test_progress_is_shown_when_asked_for(folder, cache_dir, capsys):
    open_images(folder, cache="mmap", progress=True)
    shown = capsys.readouterr()
    assert "3/3" in shown.err and "image/s" in shown.err and shown.out == ""
    open_images(folder, cache="memory")
    assert capsys.readouterr().err == ""


def test_images_in_flight_are_bounded(tmp_path, cache_dir, monkeypatch):
    for i in range(40):
        save_noise(tmp_path / "photos" / f"{i:02}.png", 2, 2, i)
    started, written = [], []

    def read(path):
        started.append(path)
        return read_image(path)

    def check(folder, needed):
        written.append(needed)
        time.sleep(0.005)
        assert len(started) - (len(written) - 2) <= 2 * mapped._THREADS + 3

    monkeypatch.setattr(mapped, "read_image", read)
    monkeypatch.setattr(mapped, "_check_space", check)
    store = open_images(tmp_path / "photos", cache="mmap")
    assert len(store) == 40 and np.array_equal(store[17], noise(2, 2, 17))


# ---------------------------------------------------------------- broken files in a folder


@pytest.fixture
def broken_folder(folder):
    (folder / "aa.png").write_bytes((folder / "a.png").read_bytes()[:80])  # header whole
    (folder / "bb.png").write_text("no image")
    return folder


@pytest.mark.parametrize("cache", CACHES)
def test_broken_files_are_skipped_and_told_once(broken_folder, cache_dir, caplog, cache):
    for _ in range(2):  # built, then found
        caplog.clear()
        with caplog.at_level(logging.WARNING, "liif"):
            store = open_images(broken_folder, cache=cache, skip_broken=True)
        assert store.names == ["a.png", "b.png", "sub/c.png"]
        assert store.sizes == [(6, 8), (9, 5), (4, 4)]
        assert all(np.array_equal(store[i], EXPECTED[i]) for i in range(3))
        assert [name for name, _ in store.skipped] == ["aa.png", "bb.png"]
        assert all("cannot read the image" in reason for _, reason in store.skipped)
        (record,) = caplog.records
        assert record.name == "liif"
        assert "2 of 5" in record.message and "aa.png, bb.png" in record.message


@pytest.mark.parametrize("cache", CACHES)
def test_broken_files_are_an_error_unless_skipped(broken_folder, cache_dir, cache):
    with pytest.raises(UserError, match=r"skip_broken: true") as caught:
        open_images(broken_folder, cache=cache)
    # By its header alone aa.png looks whole.
    assert ("bb.png" if cache == "none" else "aa.png") in str(caught.value)


def test_a_broken_file_with_a_whole_header_is_met_when_read(broken_folder):
    (broken_folder / "bb.png").unlink()
    store = open_images(broken_folder)
    assert store.names[1] == "aa.png" and store.sizes[1] == (6, 8)
    with pytest.raises(UserError, match=r"aa\.png.*skip_broken: true"):
        store[1]
    assert np.array_equal(store[0], EXPECTED[0])


def test_a_cache_with_skipped_files_is_an_error_where_none_may_be(
    broken_folder, cache_dir, decoded
):
    open_images(broken_folder, cache="mmap", skip_broken=True)
    with pytest.raises(UserError, match=r"aa\.png.*first of 2.*skip_broken: true"):
        open_images(broken_folder, cache="mmap")
    decoded.clear()
    open_images(broken_folder, cache="mmap", skip_broken=True)
    assert sorted(decoded) == ["aa.png", "bb.png"]  # only those are tried again


def test_files_skipped_for_a_passing_reason_come_back(folder, cache_dir, monkeypatch):
    def closed(path):
        if path.name == "b.png":
            raise UserError(f"{path}: cannot read the image: Permission denied")
        return read_image(path)

    with monkeypatch.context() as patch:
        patch.setattr(mapped, "read_image", closed)
        store = open_images(folder, cache="mmap", skip_broken=True)
        assert store.names == ["a.png", "sub/c.png"]
        assert np.array_equal(store[1], EXPECTED[2])
    assert_holds_all(open_images(folder, cache="mmap", skip_broken=True))
    assert len(cache_folders(cache_dir)) == 1


@pytest.mark.parametrize("cache", CACHES)
def test_a_folder_of_broken_files_only_is_an_error(tmp_path, cache_dir, cache):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "photos" / name).write_text("no image")
    with pytest.raises(UserError, match=r"all 2 images are broken.*a\.png"):
        open_images(tmp_path / "photos", cache=cache, skip_broken=True)
    if cache == "mmap":
        assert cache_folders(cache_dir) == []


def test_pillow_is_left_as_it_was_found():
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert Image.MAX_IMAGE_PIXELS == 1024**3 // 4 // 3
