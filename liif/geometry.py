"""Where things are: pixel centres, nearest latent codes, the local ensemble.

Letters: B batch, h w low-resolution grid, H W high-resolution grid, Q queried points.
Coordinates are (y, x) in [-1, 1] with pixel i of n centred at -1 + (2i+1)/n. The two axes are
independent, so everything here works on one axis at a time: a list of points has y and x of shape
(B, Q), a band of R rows of a regular grid has y of shape (1, R, 1) and x of shape (1, 1, W), and
broadcasting does the rest. Nothing of the size of the image is needed to describe a grid.

The order of the float32 operations is that of the published code, because a coordinate that lies
exactly between two codes must fall to the same side.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]

EDGE = 1e-6
"""Shifted coordinates stay this far inside [-1, 1]; the ensemble's shift is biased by as much."""


def pixel_centres(n: int, like: Tensor) -> Tensor:
    """Centres of the n pixels of one axis, (n,), on the device and in the float type of `like`."""
    return torch.arange(n, device=like.device).to(like.dtype) * (2 / n) + (-1 + 1 / n)


def cell_of(size: Size, like: Tensor) -> Tensor:
    """Height and width of one pixel of an H × W image in coordinate units, (1, 2)."""
    return like.new_tensor([[2 / size[0], 2 / size[1]]])


def grid_coord(y: Tensor, x: Tensor) -> Tensor:
    """All points of rows y (R,) and columns x (W,), row by row: (R·W, 2) as (y, x)."""
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class Field:
    """What a decoder asks for each query, one vector per cell of a regular grid, row by row.

    The grid may be a window of a larger image: coordinates always refer to the whole image.
    """

    codes: Tensor
    """(B, rows·cols, K)."""
    window: Size
    """(rows, cols) held in `codes`."""
    size: Size
    """(h, w) of the whole grid."""
    origin: Size = (0, 0)
    """(row, column) of the window's first cell in the whole grid."""
    factor: int = 1
    """Cells per low-resolution pixel along an axis; more than 1 for networks that upsample."""

    @staticmethod
    def of_map(codes: Tensor, factor: int = 1) -> "Field":
        """The field of a whole map (B, K, rows, cols); no copy if it is channels_last."""
        size = (codes.shape[-2], codes.shape[-1])
        flat = codes.permute(0, 2, 3, 1).flatten(1, 2)
        return Field(flat, window=size, size=size, factor=factor)

    def placed(self, origin: Size, size: Size) -> "Field":
        """The same codes as a window at `origin` of an image of `size` (low-resolution pixels)."""
        (top, left), (h, w), k = origin, size, self.factor
        return replace(self, origin=(top * k, left * k), size=(h * k, w * k))

    def gather(self, row: Tensor, col: Tensor) -> Tensor:
        """Codes at (row, col) of the whole grid, indices of any broadcastable shape whose first
        dimension is 1 or B; returns (B, …, K)."""
        B, N, K = self.codes.shape
        rows, cols = self.window
        row = (row - self.origin[0]).clamp(0, rows - 1)
        col = (col - self.origin[1]).clamp(0, cols - 1)
        index = row * cols + col
        if B > 1:
            image = torch.arange(B, device=index.device).view(-1, *[1] * (index.dim() - 1))
            index = index + image * N
        return F.embedding(index, self.codes.reshape(B * N, K))


class Nearest(NamedTuple):
    """The code nearest to a coordinate along one axis."""

    at: Tensor
    """int64 index, shape of the coordinate."""
    offset: Tensor
    """x - v*, in half-pixels of the code's grid: [-1, 1] inside the code's own pixel."""


def nearest(coord: Tensor, n: int, shift: int = 0) -> Nearest:
    """The code of n along one axis that is nearest to `coord` moved by `shift` (-1, 0 or 1) half
    pixels; the offset is measured from the coordinate itself."""
    bias = EDGE if shift else 0.0
    moved = (coord + (shift / n + bias)).clamp(-1 + EDGE, 1 - EDGE)
    index = (((moved + 1) * n - 1) / 2).round().long()
    return Nearest(index, (coord - pixel_centres(n, coord)[index]) * n)


class Corner(NamedTuple):
    """One of the codes that a query is predicted from, and the weight of its prediction."""

    row: Tensor
    col: Tensor
    offset_y: Tensor
    offset_x: Tensor
    weight: Tensor | None
    """Shape of y and x broadcast; None where there is only one corner."""


def corners(y: Tensor, x: Tensor, size: Size, *, ensemble: bool) -> Iterator[Corner]:
    """The nearest code, or the four of the local ensemble, each weighted by the area of the
    rectangle diagonally opposite to it (Chen et al. 2021, eq. 4)."""
    shifts = (-1, 1) if ensemble else (0,)
    rows = [nearest(y, size[0], shift) for shift in shifts]
    cols = [nearest(x, size[1], shift) for shift in shifts]
    if not ensemble:
        yield Corner(*_place(rows[0], cols[0]), weight=None)
        return
    # The smallest area keeps the sum positive where a query lies on a code, as published.
    areas = [[(r.offset * c.offset).abs() + 1e-9 for c in cols] for r in rows]
    total = areas[0][0] + areas[0][1] + areas[1][0] + areas[1][1]
    for i, r in enumerate(rows):
        for j, c in enumerate(cols):
            yield Corner(*_place(r, c), weight=areas[1 - i][1 - j] / total)


def _place(row: Nearest, col: Nearest) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return row.at, col.at, row.offset, col.offset
