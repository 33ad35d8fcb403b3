"""Pixels of a grid in groups, one for each latent code that takes part in their colours: what a
layer does with a code is then one small matrix product for all of its pixels.

Letters: B batch, R W rows and columns of pixels, n m rows and columns of codes, p q pixels of a
code along each axis.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from liif.models.field import Field
from liif.models.geometry import grid_corners

OfGroups = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A function of codes (B, n, m, 1, 1, K) and the offsets from them, (n, 1, p, 1, 1) along y and
(m, 1, q, 1) along x: the colours (B, n, m, p, q, C)."""


class Groups(NamedTuple):
    """The pixels of an axis, by code. Each is there once for each of its corners; the groups of
    codes that have fewer pixels than others are filled up."""

    first: int
    """The first of the n codes, in the field's window."""
    offsets: Tensor
    """(n, p), in half-pixels of the code's grid."""
    position: Tensor
    """Where each pixel is, for each of its corners: (2, R), in n · p."""


def groups(index: Tensor, offset: Tensor) -> Groups:
    """Return the groups of pixels whose corners (2, R) have these codes and offsets from them."""
    first = int(index.min())
    code = (index - first).flatten()
    count = code.bincount()
    order = code.argsort(stable=True)
    start = count.cumsum(0) - count
    slot = torch.empty_like(code)
    slot[order] = torch.arange(len(code)) - start[code[order]]
    position = code * int(count.max()) + slot
    offsets = offset.new_zeros(len(count), int(count.max()))
    offsets.view(-1)[position] = offset.flatten()
    return Groups(first, offsets, position.view_as(index))


def ensemble_by_code(field: Field, y: Tensor, x: Tensor, colours: OfGroups) -> Tensor:
    """Return the local ensemble of what `colours` gives, (B, R, W, C) for rows y (R,) and columns
    x (W,). Only on a CPU: the groups' sizes are read on the host."""
    corner = grid_corners(y, x, field.size, ensemble=True)
    rows = groups(field.local(corner.row, 0), corner.offset_y)
    cols = groups(field.local(corner.col, 1), corner.offset_x)
    (n, p), (m, q) = rows.offsets.shape, cols.offsets.shape
    codes = field.codes[:, rows.first : rows.first + n, cols.first : cols.first + m]
    found = colours(
        codes[:, :, :, None, None],
        rows.offsets.view(n, 1, p, 1, 1),
        cols.offsets.view(m, 1, q, 1),
    )
    B = len(codes)
    table = found.transpose(2, 3).reshape(B, n * p, m * q, -1)
    table = table[:, rows.position.flatten()][:, :, cols.position.flatten()]
    table = table.view(B, 2, len(y), 2, len(x), -1)
    weighted = table * corner.weight[..., None]
    above, below = weighted.unbind(1)  # two sums are five times as fast as `sum` over both axes
    left, right = (above + below).unbind(2)
    return left + right
