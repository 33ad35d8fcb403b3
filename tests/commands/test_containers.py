"""`liif upscale` of files that hold more than one image."""

import numpy as np
import pytest
import tifffile
from helpers.encoders import Tiff
from helpers.pictures import texture
from PIL import Image

from liif.images.photo import read_photo


@pytest.fixture
def up(cli, tiny_checkpoint, folder):
    """Runs `liif upscale`, which must succeed; gives what it says."""

    def run(*arguments):
        options = ("--checkpoint", tiny_checkpoint, "--precision", "float32")
        status, out, err = cli("upscale", *arguments, *options)
        assert status == 0, err
        return out + err

    return run


def scan():
    """A document: a page of fax, a turned page of colour, a page of 16 bits at another resolution;
    before them a preview."""
    file = Tiff(">")
    file.page(texture(3, 4), 8, 2, t254=1)
    file.page((texture(12, 20)[..., :1] > 99).astype(np.uint8), 1, 0, compression=5)
    file.page(texture(9, 15), 8, 2, t274=6)
    file.page(texture(10, 8)[..., :1].astype(np.uint16) * 257, 16, 1)
    return bytes(file.data)


def test_all_pages_of_a_document(up, folder):
    (folder / "scan.tif").write_bytes(scan())
    said = up("scan.tif", "--scale", "2")
    assert "1 preview" in said
    with tifffile.TiffFile("scan-x2.tif") as file:
        pages = [page.asarray() for page in file.pages]
        assert all(page.tags.valueof(274, 1) == 1 for page in file.pages)
    assert [page.shape for page in pages] == [(24, 40), (30, 18, 3), (20, 16)]
    assert [page.dtype.itemsize for page in pages] == [1, 1, 2]
    # Each page is what it would be alone.
    for i, photo in enumerate(read_photo(folder / "scan.tif")):
        alone = photo.colour if photo.colour.shape[2] == 3 else photo.colour[..., 0]
        tifffile.imwrite(f"{i}.tif", alone, photometric="rgb" if alone.ndim == 3 else "minisblack")
        up(f"{i}.tif", "--scale", "2")
        assert np.array_equal(tifffile.imread(f"{i}-x2.tif"), pages[i])


def test_pages_to_a_format_of_one_page(up, folder):
    (folder / "scan.tif").write_bytes(scan())
    for suffix in ("png", "gif"):
        said = up("scan.tif", "-o", f"x.{suffix}", "--scale", "2")
        assert f"x.{suffix}: first of 3 pages only; .tif holds them all" in said
        with Image.open(f"x.{suffix}") as image:
            assert image.size == (40, 24) and getattr(image, "n_frames", 1) == 1


@pytest.mark.parametrize(("suffix", "count"), [("gif", 120), ("webp", 5), ("png", 5)])
def test_an_animation_of_more_pixels_than_an_image_may_have(up, folder, monkeypatch, suffix, count):
    """The limit is of one frame; here that of a frame of 4×3 px."""
    monkeypatch.setenv("LIIF_MAX_PIXELS", "12")
    frames = [Image.new("RGB", (4, 3), (2 * i, 0, 255 - 2 * i)) for i in range(count)]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(f"x.{suffix}", save_all=True, append_images=frames[1:], duration=40, **options)
    up(f"x.{suffix}", "--scale", "1.5")
    monkeypatch.delenv("LIIF_MAX_PIXELS")
    with Image.open(f"x-x1.5.{suffix}") as image:
        assert image.n_frames == count and image.size == (6, 4)


def test_an_animation_that_memory_does_not_hold(refused, tiny_checkpoint, folder, monkeypatch):
    monkeypatch.setattr("liif.inference.files.available_memory", lambda: 1000)
    frames = [Image.new("RGB", (4, 3), (i, 0, 0)) for i in range(0, 250, 25)]
    frames[0].save("x.gif", save_all=True, append_images=frames[1:])
    said = refused("upscale", "x.gif", "--scale", "2", "--checkpoint", tiny_checkpoint)
    assert "x-x2.gif: 10 frames of 8×6 px need about" in said and "enlarge less" in said
