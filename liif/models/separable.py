"""Sums that factor on a grid of pixels, Σ vector · f(y) · g(x), as two matrix products: rows and
columns are each computed once, whatever the number of pixels.

Letters: B batch, R W rows and columns of pixels, k terms, n functions along an axis, C channels.
"""

import torch
from torch import Tensor

from liif.models.field import Field, Taps, bilinear_taps
from liif.models.repeated import interpolation, repeated_axes, repeated_sum


def spread(index: Tensor, values: Tensor, cells: int) -> Tensor:
    """Return the matrix (R, cells, n) that holds, for each row of pixels, the values (k, R, n) of
    its k terms at the index (k, R) of the cell that each belongs to; those of one cell are added.
    """
    matrix = values.new_zeros(index.shape[1], cells, values.shape[-1])
    row = torch.arange(index.shape[1], device=index.device).expand_as(index)
    return matrix.index_put_((row, index), values, accumulate=True)


def separable(vectors: Tensor, by_row: Tensor, by_col: Tensor) -> Tensor:
    """Return Σ vectors[row, column, c, i, j] · by_row[row, i] · by_col[column, j] for every pixel
    and channel, float32 (B, R, W, C).

    Args:
        vectors: (B, rows, cols, C·n·n), of each cell.
        by_row: (R, rows, n), of `spread`; by_col (W, cols, n) likewise.
    """
    (B, rows, cols, _), n = vectors.shape, by_row.shape[-1]
    with torch.autocast(vectors.device.type, enabled=False):
        terms = vectors.float().view(B, rows, cols, -1, n, n).permute(0, 1, 4, 2, 3, 5)
        lines = by_row.float().flatten(1) @ terms.reshape(B, rows * n, -1)  # (B, R, cols·C·n)
        lines = lines.view(B, len(by_row), cols, -1, n).transpose(2, 3).flatten(3)
        return (lines @ by_col.float().flatten(1).T).transpose(2, 3)


def bilinear_grid(field: Field, y: Tensor, x: Tensor, name: str = "lr") -> Tensor:
    """As `bilinear` for a grid of pixels: (B, R, W, K) for rows y (R,) and columns x (W,)."""
    return interpolate_grid(field, y, x, bilinear_taps, name)


def interpolate_grid(field: Field, y: Tensor, x: Tensor, taps: Taps, name: str = "lr") -> Tensor:
    """As `interpolate` for a grid of pixels: (B, R, W, K) for rows y (R,) and columns x (W,)."""
    if axes := repeated_axes(field, y, x):
        return repeated_sum(axes, [interpolation(field, axes, taps, name)])

    def weights(coord: Tensor, axis: int) -> Tensor:
        found = taps(coord, field.size[axis])
        index, weight = (torch.stack(each) for each in zip(*found, strict=True))
        return spread(field.local(index, axis), weight[..., None], field.codes.shape[1 + axis])

    return separable(field.maps[name], weights(y, 0), weights(x, 1))
