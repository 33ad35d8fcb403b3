"""Sums that factor on a grid of pixels, Σ vector · f(y) · g(x), as matrix products: rows and
columns are each computed once, whatever the number of pixels.

Letters: B batch, R W rows and columns of pixels, h w those of cells, k terms, n functions along an
axis, C channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from liif.models.field import Field, Taps, bilinear_taps
from liif.models.repeated import interpolation, repeated_axes, repeated_sum


class Along(NamedTuple):
    """What each row of pixels, or each column, is a sum of: k terms of one cell each."""

    cell: Tensor
    """(k, R): the index of the cell of each term, in the field's window."""
    values: Tensor
    """(k, R, n): the functions of each term."""


def separable(vectors: Tensor, rows: Along, cols: Along) -> Tensor:
    """Return Σ vectors[row, column, c, i, j] · f_i(y) · g_j(x) for every pixel and channel, float32
    (B, R, W, C), where f are the values of `rows` and g those of `cols`, n of each.

    Args:
        vectors: (B, h, w, C·n·n), of each cell.
        rows: of R rows of pixels; cols of W columns.
    """
    (B, h, w, _), n = vectors.shape, rows.values.shape[-1]
    with torch.autocast(vectors.device.type, enabled=False):
        terms = vectors.float().view(B, h, w, -1, n, n).permute(1, 4, 0, 2, 3, 5)
        lines = _sum(terms.reshape(h, n, -1), rows)
        lines = lines.view(-1, B, w, lines.shape[1] // (B * w * n), n).permute(2, 4, 1, 0, 3)
        pixels = _sum(lines.reshape(w, n, -1), cols)
        return pixels.view(-1, *lines.shape[2:]).permute(1, 2, 0, 3)


def _sum(vectors: Tensor, along: Along) -> Tensor:
    """Return Σ vectors[cell, i] · f_i, float32 (R, M), for vectors (cells, n, M) of an axis."""
    index, values = along.cell, along.values.float()
    if vectors.device.type != "cpu" or torch.compiler.is_compiling():  # must not wait for numbers
        return spread(index, values, len(vectors)).flatten(1) @ vectors.flatten(0, 1)
    # Neighbouring pixels of the same cells are the rows of one product; each has as many as the
    # largest, of which the last may stay empty.
    begins = torch.ones(index.shape[1], dtype=torch.bool)
    begins[1:] = (index[:, 1:] != index[:, :-1]).any(dim=0)
    first = begins.nonzero()[:, 0]
    group = begins.cumsum(dim=0) - 1
    place = torch.arange(len(group)) - first[group]
    most = int(place.max()) + 1
    functions = values.new_zeros(len(first), most, values.shape[0] * values.shape[2])
    functions = functions.index_put((group, place), values.transpose(0, 1).flatten(1))
    cells = vectors.index_select(0, index[:, first].T.reshape(-1))
    products = functions @ cells.view(len(first), functions.shape[2], -1)
    return products.flatten(0, 1).index_select(0, group * most + place)


def spread(index: Tensor, values: Tensor, cells: int) -> Tensor:
    """Return the matrix (R, cells, n) that holds, for each row of pixels, the values (k, R, n) of
    its k terms at the index (k, R) of the cell that each belongs to; those of one cell are added.
    """
    matrix = values.new_zeros(index.shape[1], cells, values.shape[-1])
    row = torch.arange(index.shape[1], device=index.device).expand_as(index)
    return matrix.index_put_((row, index), values, accumulate=True)


def bilinear_grid(field: Field, y: Tensor, x: Tensor, name: str = "lr") -> Tensor:
    """As `bilinear` for a grid of pixels: (B, R, W, K) for rows y (R,) and columns x (W,)."""
    return interpolate_grid(field, y, x, bilinear_taps, name)


def interpolate_grid(field: Field, y: Tensor, x: Tensor, taps: Taps, name: str = "lr") -> Tensor:
    """As `interpolate` for a grid of pixels: (B, R, W, K) for rows y (R,) and columns x (W,)."""
    if axes := repeated_axes(field, y, x):
        return repeated_sum(axes, [interpolation(field, axes, taps, name)])

    def along(coord: Tensor, axis: int) -> Along:
        found = taps(coord, field.size[axis])
        index, weight = (torch.stack(each) for each in zip(*found, strict=True))
        return Along(field.local(index, axis), weight[..., None])

    return separable(field.maps[name], along(y, 0), along(x, 1))
