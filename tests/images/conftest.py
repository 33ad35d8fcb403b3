"""Fixtures of the tests of pictures."""

import numpy as np
import pytest
from PIL import Image

from liif.images.formats import Layout, write_photo
from liif.images.photo import read_photo


@pytest.fixture
def enlarged(tmp_path, caplog):
    """Writes a file, and a result of twice its size (or of a window of it) made of it; gives the
    result and what is said to be lost."""

    def run(name, content, target, window=None, scale=2):
        source = tmp_path / name
        if content is not None:
            source.write_bytes(content)
        photo = next(read_photo(source))
        H, W = (round(scale * side) for side in (window[2:] if window else photo.size))
        bits = photo.bits if target in (".png", ".tif") else 8
        pixels = np.zeros((H, W, photo.colour.shape[2]), f"u{bits // 8}")
        path = tmp_path / f"result{target}"
        caplog.clear()
        write_photo(path, (H, W), Layout(pixels.shape[2], bits), [pixels], photo, window)
        with Image.open(path) as image:
            image.load()
            assert image.size == (W, H)
        lost = [text for text in caplog.messages if "not kept: " in text]
        assert len(lost) <= 1
        return path, lost[0].partition("not kept: ")[2] if lost else ""

    return run
