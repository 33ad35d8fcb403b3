"""Coordinates: pixel centres, nearest latent codes, and the local ensemble.

Letters: B batch, h w low-resolution grid, H W high-resolution grid, Q queried points.
Coordinates are (y, x) in [-1, 1] with pixel i of n centred at -1 + (2i+1)/n. The two axes are
independent, so functions work on one axis at a time: a list of points has y and x of one shape, a
regular grid has y of shape (R,) and x of shape (W,), without a tensor of the image's size.

The order of float32 operations is that of the published code, because a coordinate exactly between
two codes must be rounded to the same side.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from liif.core.sizes import Size, Window
from liif.models.precision import float64_device

EDGE = 1e-6
"""Margin of shifted coordinates to ±1, and bias of the ensemble's shift, as published."""


def pixel_centres(n: int, like: Tensor) -> Tensor:
    """Return the centres of the n pixels of an axis, (n,), with the device and type of `like`."""
    return torch.arange(n, device=like.device).to(like.dtype) * (2 / n) + (-1 + 1 / n)


def cell_of(size: Sequence[float], like: Tensor) -> Tensor:
    """Return the height and width of a pixel of an H × W image in coordinate units, (1, 2)."""
    # Fills run on the device; creating a tensor from Python numbers blocks on a copy to it.
    return torch.stack([like.new_full((1,), 2 / N) for N in size], dim=-1)


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
        for first, length, n in zip(self.window[:2], self.window[2:], self.lr, strict=True):
            if not (first >= 0 and length > 0 and first + length <= n * (1 + 1e-9)):
                place = f"inside an image of {self.lr[0]}×{self.lr[1]} px"
                raise ValueError(f"window {tuple(self.window)} is not {place}")

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
        at = torch.arange(N, device=float64_device(like.device), dtype=torch.float64)
        return (2 * (first + (at + 0.5) * (length / N)) / n - 1).to(like)

    def cell(self, like: Tensor, clip: float = math.inf) -> Tensor:
        """As `cell_of`, for an output pixel; never smaller than at scale `clip`: beyond the scales
        of its training, a decoder can be given the cell of the largest one (Lee and Jin, LTE, CVPR
        2022)."""
        axes = zip(self.size, self.lr, self.extent, strict=True)
        return cell_of([min(N * n / e, n * clip) for N, n, e in axes], like)

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
    """The index (int64) of the code nearest to a coordinate along one axis, and the offset x - v*
    in half-pixels of the code's grid: in [-1, 1] inside the code's own pixel."""

    at: Tensor
    offset: Tensor


def nearest(coord: Tensor, n: int, shift: int = 0) -> Nearest:
    """Return the code, of n along an axis, nearest to `coord` shifted by `shift` (-1, 0 or 1)
    half-pixels; the offset is that of the unshifted coordinate."""
    bias = EDGE if shift else 0.0
    moved = (coord + (shift / n + bias)).clamp(-1 + EDGE, 1 - EDGE)
    index = (((moved + 1) * n - 1) / 2).round().long()
    return Nearest(index, (coord - pixel_centres(n, coord)[index]) * n)


class Corners(NamedTuple):
    """Codes that points are predicted from, and the weights of their predictions.

    For one code of each of a list of points, all tensors have the shape of the points; for all
    codes of the pixels of a grid, k = 1 or 2 along each axis, the shapes are those given here.
    """

    row: Tensor  # (k, R)
    col: Tensor  # (k, W)
    offset_y: Tensor  # (k, R)
    offset_x: Tensor  # (k, W)
    weight: Tensor  # (k, R, k, W)


def corners(
    y: Tensor, x: Tensor, size: Size, *, ensemble: bool, added: float = 1e-9
) -> Iterator[Corners]:
    """Yield the code nearest to points (y, x), or the four of the local ensemble, each weighted by
    the area of the diagonally opposite rectangle (Chen et al. 2021, eq. 4); `added` to each area,
    in squared half-pixels."""
    shifts = (-1, 1) if ensemble else (0,)
    pairs = [(nearest(y, size[0], i), nearest(x, size[1], j)) for i in shifts for j in shifts]
    # The added area keeps the sum positive where a query coincides with a code, as published.
    areas = [(row.offset * col.offset).abs() + added for row, col in pairs]
    total = torch.stack(areas).sum(dim=0)
    for (row, col), area in zip(pairs, reversed(areas), strict=True):
        yield Corners(row.at, col.at, row.offset, col.offset, area / total)


def grid_corners(y: Tensor, x: Tensor, size: Size, *, ensemble: bool) -> Corners:
    """Return all `corners` of rows y (R,) and columns x (W,)."""
    shifts = (-1, 1) if ensemble else (0,)
    rows, cols = (
        [torch.stack(parts) for parts in zip(*(nearest(axis, n, s) for s in shifts), strict=True)]
        for axis, n in zip((y, x), size, strict=True)
    )
    areas = (rows[1][:, :, None, None] * cols[1]).abs() + 1e-9
    weight = areas.flip(0, 2) / areas.sum(dim=(0, 2), keepdim=True)
    return Corners(rows[0], cols[0], rows[1], cols[1], weight)
