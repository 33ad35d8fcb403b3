"""All ways by which the package reads a file of a picture, to be compared with known pixels."""

import numpy as np
import pytest

from liif.core.errors import UserError
from liif.images.channels import PixelFormat, read_header, read_pixels, read_size
from liif.images.photo import photo_size, read_photo
from liif.images.rgb8 import image_size, read_image
from liif.view.pictures import read_picture


def assert_read_everywhere(path, colour, alpha=None):
    """`liif upscale` gets exactly these numbers, (H, W, 1 or 3) and (H, W); `liif train`, `liif
    test` and `liif view` the same in their formats."""
    photo = next(read_photo(path))
    assert photo.colour.dtype == colour.dtype
    np.testing.assert_array_equal(photo.colour, colour)
    if alpha is None:
        assert photo.alpha is None
    else:
        assert photo.alpha.dtype == colour.dtype
        np.testing.assert_array_equal(photo.alpha, alpha)
    size = colour.shape[:2]
    assert photo_size(path) == image_size(path) == read_size(path) == size
    largest = np.iinfo(colour.dtype).max
    if alpha is None:
        wanted = (colour >> 8 * (colour.itemsize - 1)).astype(int)
    else:
        opacity = alpha[..., None] / largest
        wanted = (colour * opacity + largest * (1 - opacity)) * 255 / largest
    rgb = read_image(path)
    # Transparency is composited in 8 bits, to which 16 are cut off.
    assert (
        abs(rgb - np.broadcast_to(wanted, rgb.shape)).max() <= (alpha is not None) * colour.itemsize
    )
    assert np.array_equal(read_pixels(path), rgb)
    assert np.array_equal(read_picture(path, "x").pixels, rgb)
    header = read_header(path)
    assert header.size == size and 3 in header.channels
    assert (1 in header.channels) == (colour.shape[2] == 1)
    if header.bits == 16 and alpha is None:
        deep = read_pixels(path, PixelFormat(3, 16))
        assert np.array_equal(deep, np.broadcast_to(colour, deep.shape))
    assert (colour.dtype == np.uint8) == (header.bits == 8)


def assert_refused_everywhere(path, reason):
    """Every door names the file and the reason, in one line."""
    for read in (
        lambda p: next(read_photo(p)),
        read_image,
        read_pixels,
        lambda p: read_picture(p, "x"),
    ):
        with pytest.raises(UserError, match=reason) as caught:
            read(path)
        assert path.name in str(caught.value) and "\n" not in str(caught.value)
