"""PNG files written strip by strip."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from liif.data.images import image_writer, read_image
from liif.data.png import PngWriter
from liif.errors import UserError


def written(image, cuts=()):
    file = io.BytesIO()
    png = PngWriter(file, image.shape[:2])
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


def test_filters_pay():
    """A smooth picture, each third of which another filter suits; Pillow's size is the measure."""
    y, x = np.mgrid[:192, :256]
    third = np.stack([x, x // 2, 255 - x], axis=-1), np.stack([y, y, y // 2], axis=-1)
    image = np.concatenate([*third, np.stack([x + y, x + 2 * y, 2 * x + y], axis=-1)]) % 256
    image = image.astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    assert len(written(image)) < 1.2 * len(file.getvalue()) < image.size / 20


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "new/a.tif"])
def test_strips_make_one_file(tmp_path, name):
    image = np.random.default_rng(0).integers(0, 256, (30, 20, 3)).astype(np.uint8)
    with image_writer(tmp_path / name, (30, 20)) as write:
        for start in (0, 11, 22):
            write(image[start : start + 11])
    assert np.array_equal(read_image(tmp_path / name), image)
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1


def test_an_interrupted_file_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("before")

    def interrupted():
        with image_writer(path, (4, 4)) as write:
            write(np.zeros((2, 4, 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "width", "said"),
    [("a.webp", 16384, "16384×9 px is more than WEBP can hold"), ("a.gif", 5, "cannot write")],
)
def test_what_cannot_be_written_is_refused_before_the_work(tmp_path, name, width, said):
    with pytest.raises(UserError, match=said), image_writer(tmp_path / name, (9, width)):
        raise AssertionError
