"""The encoded image: one vector for each cell of a regular grid."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from liif.core.sizes import Size


@dataclass(frozen=True, eq=False)
class Field:
    """The encoded image that decoders query: one vector for each cell of a regular grid.

    The grid may be a window of a larger one: coordinates and indices always refer to the whole.
    """

    codes: Tensor
    """(B, rows, cols, K): one vector of K channels for each cell."""
    size: Size
    """(h, w) of the whole grid."""
    origin: Size = (0, 0)
    """(row, column) of the window's first cell in the whole grid."""
    factor: int = 1
    """Cells per low-resolution pixel along an axis; more than 1 for upsamplers."""
    layers: tuple[tuple[Tensor, Tensor], ...] = ()
    """(weight, bias) of the decoder's layers, in the type of the codes."""

    @staticmethod
    def of_map(
        codes: Tensor, factor: int = 1, layers: tuple[tuple[Tensor, Tensor], ...] = ()
    ) -> "Field":
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
        B, rows, cols, K = self.codes.shape
        index = self._inside(row, 0) * cols + self._inside(col, 1)
        if B > 1:
            image = torch.arange(B, device=index.device).view(-1, *[1] * (index.dim() - 1))
            index = index + image * (rows * cols)
        return F.embedding(index, self.codes.reshape(-1, K))

    def gather_grid(self, row: Tensor, col: Tensor, along_y: Tensor, along_x: Tensor) -> Tensor:
        """Return codes + along_y + along_x, (B, R, W, K), in one pass over memory.

        Args:
            row: row indices (R,).
            col: column indices (W,).
            along_y: a term for each row, (R, K).
            along_x: a term for each column, (W, K).
        """
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
        """Convert indices of the whole grid to indices of the window."""
        return (index - self.origin[axis]).clamp(0, self.codes.shape[1 + axis] - 1)
