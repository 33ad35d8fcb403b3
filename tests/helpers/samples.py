"""Sources of training samples whose pixels say where they come from."""

import numpy as np

from helpers.pictures import texture
from liif.data.cache import ImageStore
from liif.data.fixed_pairs import FixedPairs, FixedPairsSource
from liif.data.random_scale import RandomScale, RandomScaleSource
from liif.data.size_varied import SizeVaried, SizeVariedSource

MIRRORS = [(rows, cols, turn) for rows in (0, 1) for cols in (0, 1) for turn in (0, 1)]


def positions(height, width, number=0):
    """A picture whose colours say where a pixel is: (row, column, number)."""
    image = np.full((height, width, 3), number, np.uint8)
    image[..., 0], image[..., 1] = np.arange(height)[:, None], np.arange(width)
    return image


def store_of(*images):
    names = [f"{i}.png" for i in range(len(images))]
    return ImageStore(names, [image.shape[:2] for image in images], [], list(images))


def random_scale(*images, **values):
    settings = {"images": "x", "patch": 8, "scale": (1.0, 4.0), "queries": 64, **values}
    return RandomScaleSource(RandomScale(**settings), store_of(*images))


def indices(sample):
    """Rows and columns of the queried pixels, and the crop's side, from coordinates and cell."""
    side = np.round(2 / sample.cell).astype(int)
    at = np.round(((sample.coord.astype(float) + 1) * side - 1) / 2).astype(int)
    assert (at >= 0).all() and (at < side).all()
    return at[:, 0], at[:, 1], tuple(side.tolist())


def whole_crop(sample):
    """The high-resolution crop, where every one of its pixels was asked for."""
    row, col, (height, width) = indices(sample)
    assert len(row) == height * width
    crop = np.zeros((height, width, 3), np.uint8)
    crop[row, col] = sample.target
    return crop


def mirrored(image, rows, cols, turn):
    image = np.flip(image, [axis for axis, on in enumerate((rows, cols)) if on])
    return np.transpose(image, (1, 0, 2)) if turn else image


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def fixed_pairs(lr, hr, scale, order=None, **values):
    settings = {"lr": "l", "hr": "h", "patch": 5, "queries": (5 * scale) ** 2, **values}
    order = order or [(i, i) for i in range(len(lr))]
    config = FixedPairs(sampling="pairs", **settings)
    return FixedPairsSource(config, store_of(*lr), store_of(*hr), order, [scale] * len(order))


def size_varied(count, size, **values):
    settings = {"lr": "l", "hr": "h", "size": size, "queries": 16, **values}
    config = SizeVaried(sampling="size-varied", **settings)
    lr = [positions(6, 6, number) for number in range(count)]
    hr = [texture(30, 30, number) for number in range(count)]
    return SizeVariedSource(config, store_of(*lr), store_of(*hr), [(i, i) for i in range(count)])
