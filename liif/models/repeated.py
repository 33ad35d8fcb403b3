"""Grids whose pixels lie alike in every cell, as those of an integer scale do: a sum of vectors of
the cell times functions of the offset from its centre is then one matrix product for all cells.

Letters: B batch, R W rows and columns of pixels, n m rows and columns of cells, p q pixels of a
cell along each axis, C channels, k terms of the sum.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from liif.models.field import Field, Taps
from liif.models.geometry import nearest

ROUNDING = 5e-7
"""Largest error of the offset of a float32 coordinate, in half-pixels, per cell of the grid."""

Term = tuple[Tensor, Tensor]
"""Vectors (B, n, m, C, k) of the cells, and functions (k, p, q) of their pixels' offsets."""


class Axis(NamedTuple):
    """An axis of a grid that has p pixels in each cell."""

    cells: slice
    """The cells that have pixels, in the field's window."""
    offsets: Tensor
    """(p,), in half-pixels."""
    pixels: slice
    """The pixels of the grid, of those of all these cells."""


def repeated_axes(field: Field, y: Tensor, x: Tensor) -> tuple[Axis, Axis] | None:
    """Return both axes of a grid of rows y (R,) and columns x (W,); None if its pixels do not lie
    alike in every cell, and where the host must not wait for numbers: on a GPU and in graphs."""
    if field.codes.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    rows, cols = _axis(field, y, 0), _axis(field, x, 1)
    return None if rows is None or cols is None else (rows, cols)


def _axis(field: Field, coord: Tensor, axis: int) -> Axis | None:
    count = len(coord)
    if count < 2:
        return None
    index, offset = nearest(coord, field.size[axis])
    step = float(coord[-1] - coord[0]) * field.size[axis] / (count - 1)
    per_cell = max(1, round(2 / step)) if step > 0 else 1
    offsets = (2 * torch.arange(per_cell) + 1) / per_cell - 1
    skipped = round((float(offset[0] + 1) * per_cell - 1) / 2)
    number = torch.arange(skipped, skipped + count)
    cell = index - int(index[0])
    if not torch.equal(cell, number // per_cell):
        return None
    if (offset - offsets[number % per_cell]).abs().max() > ROUNDING * field.size[axis]:
        return None
    first = int(index[0]) - field.origin[axis]
    cells = slice(first, first + int(cell[-1]) + 1)
    if first < 0 or cells.stop > field.codes.shape[1 + axis]:
        return None
    return Axis(cells, offsets, slice(skipped, skipped + count))


def repeated_sum(axes: tuple[Axis, Axis], terms: Sequence[Term]) -> Tensor:
    """Return the sum over all terms, float32 (B, R, W, C)."""
    (_, y, rows), (_, x, cols) = axes
    with torch.autocast("cpu", enabled=False):
        vectors = torch.cat([each.float() for each, _ in terms], dim=-1)
        functions = torch.cat([each.float().flatten(1) for _, each in terms])
        found = (vectors @ functions).unflatten(-1, (len(y), len(x)))  # (B, n, m, C, p, q)
    image = found.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
    return image[:, :, rows, cols].permute(0, 2, 3, 1)


def interpolation(field: Field, axes: tuple[Axis, Axis], taps: Taps, name: str = "lr") -> Term:
    """Return the interpolation of a map of the field as a term: the cells around each cell, beyond
    the edge as the edge itself, and the weights that the kernel's taps give them."""
    reach = len(taps(axes[0].offsets[:1], 1)) // 2
    around = 2 * reach + 1
    vectors, weights = field.maps[name], list[Tensor]()
    for axis, (cells, offsets, _) in enumerate(axes):
        index = torch.arange(cells.start - reach, cells.stop + reach)
        index = index.clamp(0, field.codes.shape[1 + axis] - 1)
        vectors = vectors.index_select(1 + axis, index)
        found = taps(offsets / around, around)  # of the middle one of so many cells
        weights.append(sum(F.one_hot(at, around).T * weight for at, weight in found))
    vectors = vectors.unfold(1, around, 1).unfold(2, around, 1).flatten(-2)
    return vectors, (weights[0][:, None, :, None] * weights[1][:, None]).flatten(0, 1)
