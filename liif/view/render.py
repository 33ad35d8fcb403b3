"""Render the visible window of an image, strip by strip.

Letters: h w the pixels of the image, H W those of the window on the screen.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from liif.core.sizes import Size, Window, borders
from liif.images.convert import to_image, to_tensor
from liif.images.rgb8 import Pixels
from liif.models.fastest import used_precision
from liif.models.field import Field
from liif.models.geometry import Grid
from liif.models.model import SRModel
from liif.models.precision import tf32_context
from liif.models.precision_names import Precision
from liif.models.tiling import Region, tile_of
from liif.view.bicubic import bicubic
from liif.view.cache import Cache
from liif.view.pictures import Picture

BICUBIC = "bicubic"
"""The method that needs no model."""
WHOLE = 2**19
"""Images of up to this many pixels are encoded whole; of larger ones, only the visible region."""
REGION = 2**18
"""Pixels of a region that are encoded at a time. Encoding cannot be cancelled."""
FEATURES, WINDOWS, SHARED = 2**30, 2**28, 2**26
"""Bytes of encoded images, of finished windows, and of statistics that are kept."""
LARGEST_WINDOW = 2**25
"""Bytes of the largest finished window that is kept: that of a 4K screen."""
STATISTICS = 2**18
"""Pixels of an image that statistics are taken from, if it has more."""
STRIP_S = 0.2
"""Seconds that a strip should take. After each strip the page is updated or a new view begins."""

Strip = tuple[int, Pixels]
"""First row, and pixels (rows, W, 3) uint8."""


class View(NamedTuple):
    """What is shown: the id of the image, the name of a model or "bicubic", and a part of the
    image, rendered at `size` (H, W)."""

    picture: str
    method: str
    window: Window
    size: Size


class Renderer:
    """Renders views with several models and keeps recent results."""

    def __init__(self, models: Mapping[str, SRModel], precision: Precision) -> None:
        self.models = models
        self._precision: Precision = precision
        self._features: Cache[tuple[str, str, Region], Field] = Cache(FEATURES)
        self._windows: Cache[View, list[Strip]] = Cache(WINDOWS)
        self._shared: Cache[tuple[str, str, Any], tuple[Tensor, ...]] = Cache(SHARED)
        self._pace = dict.fromkeys(models, 2e5)  # pixels per second, updated with every strip

    def strips(self, picture: Picture, view: View) -> Iterator[Strip]:
        """Yield all strips of a view, from its middle outward; recent views come from a cache."""
        if (kept := self._windows.get(view)) is not None:
            yield from kept
            return
        finished: list[Strip] = []
        size = 3 * math.prod(view.size)
        render = self._bicubic_strips if view.method == BICUBIC else self._model_strips
        for strip in render(picture, view):
            if size <= LARGEST_WINDOW:
                finished.append(strip)
            yield strip
        if size <= LARGEST_WINDOW:
            self._windows.put(view, finished, size)

    def prepare(self, picture: Picture, names: Iterable[str] | None = None) -> Iterator[None]:
        """Encode a small image in advance, model by model: these models, or all."""
        h, w = picture.size
        whole = (0, h), (0, w)
        if h * w > WHOLE:
            return
        for name in self.models if names is None else names:
            self._field(picture, name, whole, whole)
            yield

    def _bicubic_strips(self, picture: Picture, view: View) -> Iterator[Strip]:
        H, W = view.size
        for rows in outward((0, H), H // 2, lambda: max(32, 2**19 // W)):
            yield rows[0], bicubic(picture.pixels, view.window, view.size, rows)

    def _model_strips(self, picture: Picture, view: View) -> Iterator[Strip]:
        model, W = self.models[view.method], view.size[1]
        grid = Grid(view.size, picture.size, view.window)
        is_first = True
        cell, shared = grid.cell(model.mean), self._statistics(picture, view)
        used = used_precision(cell.device, self._precision)
        encoded = bound = None
        for band, middle, region in _bands(grid, model):
            for rows in outward(band, middle, lambda: self._rows(view)):
                seen = grid.spans(rows, (0, W))
                field = self._field(picture, view.method, seen, region, is_first)
                is_first = False
                start = time.perf_counter()
                if encoded is not field:
                    with tf32_context(cell.device, used):
                        encoded, bound = field, replace(model.bind(field, cell), shared=shared)
                assert bound is not None
                strip = model.rendered(
                    bound, view.size, window=view.window, rows=rows, precision=self._precision
                )[0]
                pixels = to_image(strip)
                pace = (rows[1] - rows[0]) * W / (time.perf_counter() - start)
                self._pace[view.method] = (self._pace[view.method] + pace) / 2
                yield rows[0], pixels

    def _rows(self, view: View) -> int:
        """Return the rows of the next strip: multiples of the model's block, 64, or 32."""
        return max(32, round(self._pace[view.method] * STRIP_S / view.size[1] / 64) * 64)

    def _field(
        self, picture: Picture, name: str, seen: Region, region: Region, is_first: bool = False
    ) -> Field:
        """Return features that cover all of `seen`, from the cache or by encoding `region`.

        The first strip of a view must not wait for long: if `seen` needs less than half the work,
        only that is encoded, and not cached.
        """
        (top, bottom), (left, right) = seen

        def fits(key: tuple[str, str, Region]) -> bool:
            y, x = key[2]
            covers = y[0] <= top and bottom <= y[1] and x[0] <= left and right <= x[1]
            return covers and key[:2] == (picture.id, name)

        if (field := self._features.find(fits)) is not None:
            return field
        model, size = self.models[name], picture.size
        if is_first and 2 * _pixels(seen, size, model) < _pixels(region, size, model):
            return self._encode(picture, model, seen)
        field = self._encode(picture, model, region)
        self._features.put((picture.id, name, region), field, field.nbytes)
        return field

    def _encode(self, picture: Picture, model: SRModel, region: Region) -> Field:
        tile = tile_of(model, picture.size, region)
        (y, x), (h, w) = tile, picture.size
        pixels = picture.pixels[slice(*y), slice(*x)]
        beyond = (0, max(y[1] - h, 0)), (0, max(x[1] - w, 0)), (0, 0)
        lr = to_tensor(np.pad(pixels, beyond, mode="symmetric"))[None].to(model.mean)
        return model.encoded(lr, tile, picture.size, precision=self._precision)

    def _statistics(self, picture: Picture, view: View) -> tuple[Tensor, ...]:
        """Return what the colours of the whole image share at the size of the view's pixels, from
        some of its pixels; nothing for most models."""
        model = self.models[view.method]
        if not model.decoder.has_statistics:
            return ()
        scales = tuple(N / n for N, n in zip(view.size, view.window[2:], strict=True))
        key = picture.id, view.method, scales
        if (found := self._shared.find(lambda each: each == key)) is None:
            pixels = math.prod(picture.size) * math.prod(scales)
            step = max(1, round((pixels / STATISTICS) ** 0.5))
            lr = to_tensor(picture.pixels)[None].to(model.mean)
            options: dict[str, Any] = {"window": view.window, "precision": self._precision}
            found = model.statistics(lr, view.size, step=step, **options)
            self._shared.put(key, found, sum(each.nbytes for each in found))
        return found


def outward(band: Size, start: int, rows: Callable[[], int]) -> Iterator[Size]:
    """Yield all rows of a band in strips (first, last + 1), on both sides of `start` in turn."""
    low = high = start
    while low > band[0] or high < band[1]:
        if low == band[0] or (high < band[1] and high - start <= start - low):
            last, high = high, min(high + rows(), band[1])
            yield last, high
        else:
            last, low = low, max(low - rows(), band[0])
            yield low, last


def _bands(grid: Grid, model: SRModel) -> Iterator[tuple[Size, int, Region]]:
    """Yield bands of the window's rows from its middle outward: (rows, row to start with, region to
    encode). The region is all of a small image, and what the band shows of a large one."""
    H, W = grid.size
    (h, w), (y, x) = grid.lr, grid.spans((0, H), (0, W))
    if (halo := model.halo) is None or h * w <= WHOLE:
        yield (0, H), H // 2, ((0, h), (0, w))
        return
    rows = max(2 * halo, REGION // (x[1] - x[0] + 2 * halo) - 2 * halo)
    bands = list(pairwise(borders(H, -(-(y[1] - y[0]) // rows))))
    middle = len(bands) // 2
    for i in sorted(range(len(bands)), key=lambda i: abs(i - middle)):
        first, last = bands[i]
        start = (first + last) // 2 if i == middle else first if i > middle else last
        yield bands[i], start, grid.spans(bands[i], (0, W))


def _pixels(region: Region, size: Size, model: SRModel) -> int:
    """Return the number of pixels to encode for a region, with its halo."""
    y, x = tile_of(model, size, region)
    return (y[1] - y[0]) * (x[1] - x[0])
