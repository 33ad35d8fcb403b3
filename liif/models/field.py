"""The encoded image: one vector for each cell of a regular grid."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from liif.core.sizes import Size
from liif.models.layers import Layer


@dataclass(frozen=True, eq=False)
class Field:
    """The encoded image that decoders query: one vector for each cell of a regular grid, or of a
    window of a larger one; coordinates and indices always refer to the whole grid."""

    codes: Tensor
    """(B, rows, cols, K): one vector of K channels for each cell."""
    size: Size
    """(h, w) of the whole grid."""
    origin: Size = (0, 0)
    """(row, column) of the window's first cell in the whole grid."""
    factor: int = 1
    """Cells per low-resolution pixel along an axis; more than 1 for upsamplers."""
    layers: tuple[Layer, ...] = ()
    """(weight, bias) of the decoder's layers, in the type of the codes."""

    @staticmethod
    def of_map(codes: Tensor, factor: int = 1, layers: tuple[Layer, ...] = ()) -> "Field":
        """Return the field of a whole map (B, K, rows, cols); no copy if it is channels_last."""
        size = (codes.shape[-2], codes.shape[-1])
        codes = codes.permute(0, 2, 3, 1).contiguous()
        return Field(codes, size=size, factor=factor, layers=layers)

    def at_origin(self, origin: Size, size: Size) -> "Field":
        """Return the same codes as a window at `origin` of an image of `size`, both in
        low-resolution pixels."""
        (top, left), (h, w), k = origin, size, self.factor
        return replace(self, origin=(top * k, left * k), size=(h * k, w * k))

    def window(self, rows: Size, cols: Size) -> "Field":
        """Return the codes that queries inside low-resolution pixels rows × cols use, without a
        copy; rows and cols are (first, last + 1)."""
        spans: list[slice] = []
        for (first, last), at in zip((rows, cols), self.origin, strict=True):
            # Shifted corners reach half a cell further, and rounding of coordinates one cell.
            start, end = first * self.factor - 2 - at, last * self.factor + 2 - at
            spans.append(slice(max(start, 0), end))
        (top, left), (y, x) = self.origin, spans
        return replace(self, codes=self.codes[:, y, x], origin=(top + y.start, left + x.start))

    def gather(self, row: Tensor, col: Tensor) -> Tensor:
        """Return the codes (B, …, K) at indices row and col, of broadcastable shapes whose first
        dimension is 1 or B."""
        return F.embedding(self._index(row, col), self.codes.flatten(0, 2))

    def gather_grid(self, row: Tensor, col: Tensor, along_y: Tensor, along_x: Tensor) -> Tensor:
        """Return codes + along_y + along_x, (B, R, W, K), at indices row (R,) and col (W,) in one
        pass over memory; along_y (R, K) is a term for each row, along_x (W, K) for each column."""
        codes = self.codes.flatten(0, 2)
        table = torch.cat([codes, along_y, along_x])
        number = torch.arange(len(codes), len(table), device=row.device)
        by_row, by_col = number.split([len(row), len(col)])
        parts = (self._index(row.view(1, -1, 1), col), by_row[:, None], by_col)
        index = torch.stack(torch.broadcast_tensors(*parts), dim=-1)
        bags = F.embedding_bag(index.view(-1, 3), table, mode="sum")
        return bags.unflatten(0, index.shape[:-1])

    def _index(self, row: Tensor, col: Tensor) -> Tensor:
        """Return the indices in codes.flatten(0, 2) of a row and a column of the whole grid."""
        B, rows, cols, _ = self.codes.shape
        row, col = row - self.origin[0], col - self.origin[1]
        index = row.clamp(0, rows - 1) * cols + col.clamp(0, cols - 1)
        if B > 1:
            image = torch.arange(B, device=index.device).view(-1, *[1] * (index.dim() - 1))
            index = index + image * (rows * cols)
        return index
