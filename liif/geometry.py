"""Where things are: pixel centres, nearest latent codes, the local ensemble.

Letters: B batch, h w low-resolution grid, H W high-resolution grid, Q queried points.
Coordinates are (y, x) in [-1, 1] with pixel i of n centred at -1 + (2i+1)/n. The two axes are
independent, so everything here works on one axis at a time: a list of points has y and x of one
shape, a regular grid has y of shape (R,) and x of shape (W,). Nothing of the size of the image is
needed to describe a grid.

The order of the float32 operations is that of the published code, because a coordinate that lies
exactly between two codes must fall to the same side.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]

LARGEST = 2**31
"""No side of an image is that long; PNG's limit, too."""
EDGE = 1e-6
"""Shifted coordinates stay this far inside [-1, 1]; the ensemble's shift is biased by as much."""


def pixel_centres(n: int, like: Tensor) -> Tensor:
    """Centres of the n pixels of one axis, (n,), on the device and in the float type of `like`."""
    return torch.arange(n, device=like.device).to(like.dtype) * (2 / n) + (-1 + 1 / n)


def cell_of(
    size: tuple[float, float], like: Tensor, lr: Size = (1, 1), clip: float = math.inf
) -> Tensor:
    """Height and width of one pixel of an H × W image in coordinate units, (1, 2). With `clip` they
    are no smaller than at that scale of the low-resolution size `lr`: beyond the scales of its
    training a decoder can be given the cell of the largest (as Lee and Jin do, LTE, CVPR 2022)."""
    return like.new_tensor([[2 / min(N, n * clip) for N, n in zip(size, lr, strict=True)]])


class Window(NamedTuple):
    """A part of the continuous image, in low-resolution pixels from its upper left corner; not
    necessarily whole ones."""

    top: float
    left: float
    height: float
    width: float


@dataclass(frozen=True)
class Grid:
    """The pixels that an image of `lr` (h, w) is shown in: `size` (H, W) of them, over all of it or
    over a window."""

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
        """Height and width of what is shown, in low-resolution pixels."""
        return self.lr if self.window is None else self.window[2:]

    def centres(self, axis: int, like: Tensor) -> Tensor:
        """Coordinates of the rows (axis 0, (H,)) or columns (axis 1, (W,)) of pixels."""
        if self.window is None:
            return pixel_centres(self.size[axis], like)
        n, N = self.lr[axis], self.size[axis]
        first, length = self.window[axis], self.window[2 + axis]
        at = torch.arange(N, device=like.device, dtype=torch.float64)
        return (2 * (first + (at + 0.5) * (length / N)) / n - 1).to(like.dtype)

    def cell(self, like: Tensor, clip: float = math.inf) -> Tensor:
        """As `cell_of`, of an image that is shown whole in pixels of this size."""
        H, W = (N * n / e for N, n, e in zip(self.size, self.lr, self.extent, strict=True))
        return cell_of((H, W) if self.window else self.size, like, self.lr, clip)

    def spans(self, rows: Size, cols: Size) -> tuple[Size, Size]:
        """The low-resolution pixels that pixels rows × cols cover, all as (first, last + 1)."""
        return self._span(0, *rows), self._span(1, *cols)

    def _span(self, axis: int, first: int, last: int) -> Size:
        n, N = self.lr[axis], self.size[axis]
        if self.window is None:
            return first * n // N, -(-last * n // N)
        start, step = self.window[axis], self.window[2 + axis] / N
        return math.floor(start + first * step), math.ceil(start + last * step)


def grid_coord(y: Tensor, x: Tensor) -> Tensor:
    """All points of rows y (R,) and columns x (W,), row by row: (R·W, 2) as (y, x)."""
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1)


@dataclass(frozen=True, eq=False)
class Field:
    """What a decoder asks for each query: one vector per cell of a regular grid.

    The grid may be a window of a larger image: coordinates and indices always refer to the whole.
    """

    codes: Tensor
    """(B, rows, cols, K)."""
    size: Size
    """(h, w) of the whole grid."""
    origin: Size = (0, 0)
    """(row, column) of the window's first cell in the whole grid."""
    factor: int = 1
    """Cells per low-resolution pixel along an axis; more than 1 for networks that upsample."""
    layers: tuple[tuple[Tensor, Tensor], ...] = ()
    """(weight, bias) of the decoder's own layers in the type of the codes."""

    @staticmethod
    def of_map(
        codes: Tensor, factor: int = 1, layers: tuple[tuple[Tensor, Tensor], ...] = ()
    ) -> "Field":
        """The field of a whole map (B, K, rows, cols); no copy if it is channels_last."""
        size = (codes.shape[-2], codes.shape[-1])
        codes = codes.permute(0, 2, 3, 1).contiguous()
        return Field(codes, size=size, factor=factor, layers=layers)

    def placed(self, origin: Size, size: Size) -> "Field":
        """The same codes as a window at `origin` of an image of `size` (low-resolution pixels)."""
        (top, left), (h, w), k = origin, size, self.factor
        return replace(self, origin=(top * k, left * k), size=(h * k, w * k))

    def around(self, rows: Size, cols: Size) -> "Field":
        """The codes that points over low-resolution pixels rows × cols, as (first, last + 1), can
        ask for; no copy."""
        spans: list[slice] = []
        for (first, last), at in zip((rows, cols), self.origin, strict=True):
            # Half a cell to the shifted corners, and one for the rounding of coordinates.
            start, end = first * self.factor - 2 - at, last * self.factor + 2 - at
            spans.append(slice(max(start, 0), end))
        (top, left), (y, x) = self.origin, spans
        return replace(self, codes=self.codes[:, y, x], origin=(top + y.start, left + x.start))

    def gather(self, row: Tensor, col: Tensor) -> Tensor:
        """Codes (B, …, K) at (row, col), indices of any broadcastable shape whose first dimension
        is 1 or B."""
        B, rows, cols, K = self.codes.shape
        index = self._inside(row, 0) * cols + self._inside(col, 1)
        if B > 1:
            image = torch.arange(B, device=index.device).view(-1, *[1] * (index.dim() - 1))
            index = index + image * (rows * cols)
        return F.embedding(index, self.codes.reshape(-1, K))

    def gather_grid(self, row: Tensor, col: Tensor, along_y: Tensor, along_x: Tensor) -> Tensor:
        """Codes + along_y + along_x, (B, R, W, K), of rows row (R,) with along_y (R, K) and
        columns col (W,) with along_x (W, K), all in one pass."""
        B, rows, cols, K = self.codes.shape
        table = torch.cat([self.codes.reshape(-1, K), along_y, along_x])
        image = torch.arange(B, device=row.device).view(B, 1, 1) * (rows * cols)
        parts = (
            image + self._inside(row, 0).view(1, -1, 1) * cols + self._inside(col, 1),
            torch.arange(len(row), device=row.device).view(1, -1, 1) + B * rows * cols,
            torch.arange(len(col), device=row.device) + (B * rows * cols + len(row)),
        )
        index = torch.stack(torch.broadcast_tensors(*parts), dim=-1)
        return F.embedding_bag(index.view(-1, 3), table, mode="sum").view(*index.shape[:-1], K)

    def _inside(self, index: Tensor, axis: int) -> Tensor:
        """An index of the whole grid as one of the window."""
        return (index - self.origin[axis]).clamp(0, self.codes.shape[1 + axis] - 1)


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
    """One of the codes that points are predicted from, and the weight of its prediction; all of
    the points' shape."""

    row: Tensor
    col: Tensor
    offset_y: Tensor
    offset_x: Tensor
    weight: Tensor


def corners(y: Tensor, x: Tensor, size: Size, *, ensemble: bool) -> Iterator[Corner]:
    """The code nearest to points (y, x), or the four of the local ensemble, each weighted by the
    area of the rectangle diagonally opposite to it (Chen et al. 2021, eq. 4)."""
    shifts = (-1, 1) if ensemble else (0,)
    pairs = [(nearest(y, size[0], i), nearest(x, size[1], j)) for i in shifts for j in shifts]
    # The smallest area keeps the sum positive where a query lies on a code, as published.
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
    """All `corners` of rows y (R,) and columns x (W,) at once."""
    shifts = (-1, 1) if ensemble else (0,)
    rows, cols = (
        [torch.stack(parts) for parts in zip(*(nearest(axis, n, s) for s in shifts), strict=True)]
        for axis, n in zip((y, x), size, strict=True)
    )
    areas = (rows[1][:, :, None, None] * cols[1]).abs() + 1e-9
    weight = areas.flip(0, 2) / areas.sum(dim=(0, 2), keepdim=True)
    return GridCorners(rows[0], cols[0], rows[1], cols[1], weight)


def target_size(
    lr: tuple[float, float],
    *,
    size: Size | None = None,
    scale: float | tuple[float, float] | None = None,
) -> Size:
    """(H, W) from exactly one of a size and a scale; ValueError for anything that is not one."""
    if (size is None) == (scale is None):
        raise ValueError("give exactly one of size=(H, W) and scale=")
    if scale is not None:
        sy, sx = scale if isinstance(scale, tuple) else (scale, scale)
        if not (sy > 0 and sx > 0 and max(lr[0] * sy, lr[1] * sx) < LARGEST):
            raise ValueError(f"scale must be positive and its result below 2³¹, not {scale}")
        return max(1, round(lr[0] * sy)), max(1, round(lr[1] * sx))
    H, W = cast(Size, size)
    if not (1 <= H < LARGEST and 1 <= W < LARGEST and int(H) == H and int(W) == W):
        raise ValueError(f"size must be two positive whole numbers below 2³¹, not {size}")
    return int(H), int(W)


def borders(n: int, parts: int) -> list[int]:
    """n cut into equal parts, up to one; empty ones where there are more parts than n."""
    return [n * i // parts for i in range(parts + 1)]
