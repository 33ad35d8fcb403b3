"""Coordinates: pixel centres, nearest latent codes, and the local ensemble.

Letters: B batch, h w low-resolution grid, H W high-resolution grid, Q queried points.
Coordinates are (y, x) in [-1, 1] with pixel i of n centred at -1 + (2i+1)/n. The two axes are
independent, so functions work on one axis at a time: a list of points has y and x of one shape, a
regular grid has y of shape (R,) and x of shape (W,), without a tensor of the image's size.

The order of float32 operations is that of the published code, because a coordinate exactly between
two codes must be rounded to the same side.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from liif.core.sizes import Size, Window

EDGE = 1e-6
"""Margin of shifted coordinates to ±1, and bias of the ensemble's shift, as published."""


def pixel_centres(n: int, like: Tensor) -> Tensor:
    """Return the centres of the n pixels of an axis, (n,), with the device and type of `like`."""
    return torch.arange(n, device=like.device).to(like.dtype) * (2 / n) + (-1 + 1 / n)


def cell_of(
    size: tuple[float, float], like: Tensor, lr: Size = (1, 1), clip: float = math.inf
) -> Tensor:
    """Return the height and width of a pixel of an H × W image in coordinate units, (1, 2).

    `clip` limits them to those at this scale of the low-resolution size `lr`: beyond the scales of
    its training, a decoder can be given the cell of the largest one (Lee and Jin, LTE, CVPR 2022).
    """
    sides = [2 / min(N, n * clip) for N, n in zip(size, lr, strict=True)]
    # Fills run on the device; creating a tensor from Python numbers blocks on a copy to it.
    return torch.stack([like.new_full((1,), side) for side in sides], dim=-1)


@dataclass(frozen=True)
class Grid:
    """A grid of `size` (H, W) output pixels that covers an image of `lr` (h, w) pixels, or a window
    of it."""

    size: Size
    lr: Size
    window: Window | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a window that is empty or not inside the image."""
        if self.window is None:
            return
        top, left, height, width = self.window
        for first, length, n in zip((top, left), (height, width), self.lr, strict=True):
            if not (first >= 0 and length > 0 and first + length <= n * (1 + 1e-9)):
                h, w = self.lr
                raise ValueError(
                    f"window {tuple(self.window)} is not inside an image of {h}×{w} px"
                )

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width that the grid covers, in low-resolution pixels."""
        return self.lr if self.window is None else self.window[2:]

    def centres(self, axis: int, like: Tensor) -> Tensor:
        """Return the coordinates of the rows (axis 0: (H,)) or columns (axis 1: (W,))."""
        if self.window is None:
            return pixel_centres(self.size[axis], like)
        n, N = self.lr[axis], self.size[axis]
        first, length = self.window[axis], self.window[2 + axis]
        at = torch.arange(N, device=like.device, dtype=torch.float64)
        return (2 * (first + (at + 0.5) * (length / N)) / n - 1).to(like.dtype)

    def cell(self, like: Tensor, clip: float = math.inf) -> Tensor:
        """As `cell_of`, for an image that is shown as a whole in pixels of this size."""
        H, W = (N * n / e for N, n, e in zip(self.size, self.lr, self.extent, strict=True))
        return cell_of((H, W) if self.window else self.size, like, self.lr, clip)

    def spans(self, rows: Size, cols: Size) -> tuple[Size, Size]:
        """Return the low-resolution pixels that output pixels rows × cols cover; all spans are
        (first, last + 1)."""
        return self._span(0, *rows), self._span(1, *cols)

    def _span(self, axis: int, first: int, last: int) -> Size:
        n, N = self.lr[axis], self.size[axis]
        if self.window is None:
            return first * n // N, -(-last * n // N)
        start, step = self.window[axis], self.window[2 + axis] / N
        return math.floor(start + first * step), math.ceil(start + last * step)


def grid_coord(y: Tensor, x: Tensor) -> Tensor:
    """Return all points of rows y (R,) and columns x (W,), row by row: (R·W, 2) as (y, x)."""
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1)


class Nearest(NamedTuple):
    """The code nearest to a coordinate along one axis."""

    at: Tensor
    """int64 index, shape of the coordinate."""
    offset: Tensor
    """x - v* in half-pixels of the code's grid: in [-1, 1] inside the code's own pixel."""


def nearest(coord: Tensor, n: int, shift: int = 0) -> Nearest:
    """Return the code, of n along an axis, nearest to `coord` shifted by `shift` (-1, 0 or 1)
    half-pixels; the offset is that of the unshifted coordinate."""
    bias = EDGE if shift else 0.0
    moved = (coord + (shift / n + bias)).clamp(-1 + EDGE, 1 - EDGE)
    index = (((moved + 1) * n - 1) / 2).round().long()
    return Nearest(index, (coord - pixel_centres(n, coord)[index]) * n)


class Corner(NamedTuple):
    """A code that points are predicted from, and the weight of its prediction; all tensors have the
    shape of the points."""

    row: Tensor
    col: Tensor
    offset_y: Tensor
    offset_x: Tensor
    weight: Tensor


def corners(y: Tensor, x: Tensor, size: Size, *, ensemble: bool) -> Iterator[Corner]:
    """Yield the code nearest to points (y, x), or the four of the local ensemble, each weighted by
    the area of the diagonally opposite rectangle (Chen et al. 2021, eq. 4)."""
    shifts = (-1, 1) if ensemble else (0,)
    pairs = [(nearest(y, size[0], i), nearest(x, size[1], j)) for i in shifts for j in shifts]
    # The added area keeps the sum positive where a query coincides with a code, as published.
    areas = [(row.offset * col.offset).abs() + 1e-9 for row, col in pairs]
    total = torch.stack(areas).sum(dim=0)
    for (row, col), area in zip(pairs, reversed(areas), strict=True):
        yield Corner(row.at, col.at, row.offset, col.offset, area / total)


class GridCorners(NamedTuple):
    """The corners of a grid's pixels, k = 1 or 2 along each axis."""

    row: Tensor
    """(k, R)."""
    col: Tensor
    """(k, W)."""
    offset_y: Tensor
    offset_x: Tensor
    weight: Tensor
    """(k, R, k, W)."""


def grid_corners(y: Tensor, x: Tensor, size: Size, *, ensemble: bool) -> GridCorners:
    """Return all `corners` of rows y (R,) and columns x (W,)."""
    shifts = (-1, 1) if ensemble else (0,)
    rows, cols = (
        [torch.stack(parts) for parts in zip(*(nearest(axis, n, s) for s in shifts), strict=True)]
        for axis, n in zip((y, x), size, strict=True)
    )
    areas = (rows[1][:, :, None, None] * cols[1]).abs() + 1e-9
    weight = areas.flip(0, 2) / areas.sum(dim=(0, 2), keepdim=True)
    return GridCorners(rows[0], cols[0], rows[1], cols[1], weight)
