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

ROUNDING = 3e-7
"""Largest error of a float32 coordinate that counts as rounding, as a share of the whole axis."""

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
    n, count = field.size[axis], len(coord)
    ends = coord[0].item(), coord[-1].item()
    per_cell = round(2 * (count - 1) / max((ends[1] - ends[0]) * n, 1e-3)) if count > 1 else 0
    if not per_cell:
        return None
    place = (coord + 1) * (n * per_cell / 2)  # the i-th pixel of the whole axis is at i + 1/2
    first = round(place[0].item() - 0.5)
    error = (place - torch.arange(first, first + count) - 0.5).abs().max().item()
    if error > ROUNDING * n * per_cell:
        return None
    cells = slice(first // per_cell, (first + count - 1) // per_cell + 1)
    inside = slice(cells.start - field.origin[axis], cells.stop - field.origin[axis])
    if inside.start < 0 or inside.stop > field.codes.shape[1 + axis]:
        return None
    offsets = torch.arange(1, 2 * per_cell, 2) / per_cell - 1
    return Axis(inside, offsets, slice(first % per_cell, first % per_cell + count))


def repeated_sum(axes: tuple[Axis, Axis], terms: Sequence[Term]) -> Tensor:
    """Return the sum over all terms, float32 (B, R, W, C)."""
    (_, y, rows), (_, x, cols) = axes
    found = terms[0][0].new_zeros((), dtype=torch.float32)
    with torch.autocast("cpu", enabled=False):
        for vectors, functions in terms:
            products = vectors.float().flatten(0, 3), functions.float().flatten(1)
            found = torch.addmm(found, *products)
    found = found.view(*terms[0][0].shape[:4], len(y), len(x))  # (B, n, m, C, p, q)
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
        weights.append(torch.stack([F.one_hot(at, around).T * w for at, w in found]).sum(dim=0))
    vectors = vectors.unfold(1, around, 1).unfold(2, around, 1).flatten(-2)
    return vectors, (weights[0][:, None, :, None] * weights[1][:, None]).flatten(0, 1)
