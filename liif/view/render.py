"""The visible window of a picture, strip by strip.

Letters: h w the picture's pixels, H W those of the window on the screen.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from liif.core.sizes import Size, Window, borders
from liif.images.convert import to_image, to_tensor
from liif.images.rgb8 import Pixels
from liif.models.field import Field
from liif.models.geometry import Grid
from liif.models.model import Precision, SRModel
from liif.view.bicubic import bicubic
from liif.view.cache import Cache
from liif.view.pictures import Picture

BICUBIC = "bicubic"
"""The way of enlarging that needs no model."""
WHOLE = 2**19
"""Pixels of a picture that is encoded whole, once; of a larger one, what is looked at."""
REGION = 2**18
"""Pixels of it that are encoded at a time: nothing can be cancelled while that lasts."""
FEATURES = 2**30
"""Bytes of encoded pictures that are kept."""
WINDOWS = 2**28
"""Bytes of finished windows that are kept."""
STRIP_S = 0.2
"""Seconds that a strip should take: as often the page is drawn, and a newer view comes first."""

Strip = tuple[int, Pixels]
"""First row, and uint8 (rows, W, 3)."""
Region = tuple[Size, Size]
"""Rows and columns of a picture's pixels, as (first, last + 1)."""


class View(NamedTuple):
    """What is to be made. A value: equal views are the same pixels."""

    picture: str
    """The picture's id."""
    by: str
    """A model's name, or "bicubic"."""
    window: Window
    size: Size


class Renderer:
    """Models, and what they made of the pictures looked at last."""

    def __init__(self, models: Mapping[str, SRModel], precision: Precision) -> None:
        self.models = models
        self._precision: Precision = precision
        self._features: Cache[tuple[str, str, Region], Field] = Cache(FEATURES)
        self._windows: Cache[View, list[Strip]] = Cache(WINDOWS)
        self._pace = dict.fromkeys(models, 2e5)  # pixels a second, measured as it goes

    def strips(self, picture: Picture, view: View) -> Iterator[Strip]:
        """All rows of a view, from its middle outward; what has been made once comes at once."""
        if (kept := self._windows.get(view)) is not None:
            yield from kept
            return
        made: list[Strip] = []
        make = self._by_bicubic if view.by == BICUBIC else self._by_model
        for strip in make(picture, view):
            made.append(strip)
            yield strip
        self._windows.put(view, made, sum(pixels.nbytes for _, pixels in made))

    def prepare(self, picture: Picture) -> Iterator[None]:
        """Encode a small picture before it is looked at, model by model."""
        h, w = picture.size
        for by in self.models if h * w <= WHOLE else ():
            everything = (0, h), (0, w)
            self._field(picture, by, everything, everything)
            yield

    def _by_bicubic(self, picture: Picture, view: View) -> Iterator[Strip]:
        H, W = view.size
        for rows in outward((0, H), H // 2, lambda: max(32, 2**19 // W)):
            yield rows[0], bicubic(picture.pixels, view.window, view.size, rows)

    def _by_model(self, picture: Picture, view: View) -> Iterator[Strip]:
        model, W = self.models[view.by], view.size[1]
        grid = Grid(view.size, picture.size, view.window)
        in_hurry = True
        for band, start, region in _bands(grid, model.halo):
            for rows in outward(band, start, lambda: self._rows(view)):
                seen = grid.spans(rows, (0, W))
                field = self._field(picture, view.by, seen, region, in_hurry)
                in_hurry = False
                began = time.perf_counter()
                pixels = to_image(
                    model.rendered(field, view.size, window=view.window, rows=rows)[0]
                )
                pace = (rows[1] - rows[0]) * W / (time.perf_counter() - began)
                self._pace[view.by] = (self._pace[view.by] + pace) / 2
                yield rows[0], pixels

    def _rows(self, view: View) -> int:
        """Rows of the next strip; the model works in blocks of 64."""
        return max(32, round(self._pace[view.by] * STRIP_S / view.size[1] / 64) * 64)

    def _field(
        self, picture: Picture, by: str, seen: Region, region: Region, in_hurry: bool = False
    ) -> Field:
        """Features of all that is seen: kept ones, or those of the region, which are kept; of no
        more than is seen for whoever cannot wait that long."""

        def fits(key: tuple[str, str, Region]) -> bool:
            inside = zip(key[2], seen, strict=True)
            return key[:2] == (picture.id, by) and all(
                have[0] <= want[0] and want[1] <= have[1] for have, want in inside
            )

        if (field := self._features.find(fits)) is not None:
            return field
        model, size = self.models[by], picture.size
        if in_hurry and 2 * _pixels(seen, size, model.halo) < _pixels(region, size, model.halo):
            return self._encoded(picture, model, seen)
        field = self._encoded(picture, model, region)
        self._features.put((picture.id, by, region), field, field.codes.nbytes)
        return field

    def _encoded(self, picture: Picture, model: SRModel, region: Region) -> Field:
        y, x = _with_halo(region, picture.size, model.halo)
        lr = to_tensor(picture.pixels[slice(*y), slice(*x)])[None].to(model.mean)
        return model.encoded(lr, precision=self._precision).at_origin((y[0], x[0]), picture.size)


def outward(band: Size, start: int, rows: Callable[[], int]) -> Iterator[Size]:
    """All rows of a band in strips, as (first, last + 1), to both sides of `start` in turn."""
    low = high = start
    while low > band[0] or high < band[1]:
        if low == band[0] or (high < band[1] and high - start <= start - low):
            last, high = high, min(high + rows(), band[1])
            yield last, high
        else:
            last, low = low, max(low - rows(), band[0])
            yield low, last


def _bands(grid: Grid, halo: int) -> Iterator[tuple[Size, int, Region]]:
    """The window's rows in bands from its middle outward, the row to begin each with, and the
    region to encode for it: all of a small picture; of a large one, what the band shows."""
    H, W = grid.size
    (h, w), (y, x) = grid.lr, grid.spans((0, H), (0, W))
    if h * w <= WHOLE:
        yield (0, H), H // 2, ((0, h), (0, w))
        return
    rows = max(2 * halo, REGION // (x[1] - x[0] + 2 * halo) - 2 * halo)
    bands = list(pairwise(borders(H, -(-(y[1] - y[0]) // rows))))
    middle = len(bands) // 2
    for i in sorted(range(len(bands)), key=lambda i: abs(i - middle)):
        first, last = bands[i]
        start = (first + last) // 2 if i == middle else first if i > middle else last
        yield bands[i], start, grid.spans(bands[i], (0, W))


def _with_halo(region: Region, size: Size, halo: int) -> Region:
    y, x = ((max(a - halo, 0), min(b + halo, n)) for (a, b), n in zip(region, size, strict=True))
    return y, x


def _pixels(region: Region, size: Size, halo: int) -> int:
    """How many have to be encoded for it."""
    y, x = _with_halo(region, size, halo)
    return (y[1] - y[0]) * (x[1] - x[0])
