"""The encoded image: vectors for each cell of a regular grid."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from liif.core.sizes import Size
from liif.models.layers import Layer, is_exporting


@dataclass(frozen=True, eq=False)
class Field:
    """The encoded image that decoders query: vectors for each cell of a regular grid, or of a
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
    maps: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    """Further vectors (B, rows, cols, K') of the same cells by their name, each in its own type:
    what needs float32 beside codes in bfloat16."""
    covered: Size | None = None
    """(h, w) of the part of the grid that the image covers, if it was padded (`SRModel.frame`)."""
    is_bound: bool = False
    """Whether `Decoder.bind` was applied."""
    shared: tuple[Tensor, ...] = ()
    """The result of `Decoder.statistics`, (B, …) each; empty before it is computed."""

    @staticmethod
    def of_map(
        codes: Tensor,
        factor: int = 1,
        layers: tuple[Layer, ...] = (),
        maps: Mapping[str, Tensor] | None = None,
    ) -> "Field":
        """Return the field of a whole map (B, K, rows, cols), and of further ones of the same size;
        no copy of those that are channels_last."""
        size = (codes.shape[-2], codes.shape[-1])
        codes, *others = (
            each.permute(0, 2, 3, 1).contiguous() for each in (codes, *(maps or {}).values())
        )
        named = dict(zip(maps or {}, others, strict=True))
        return Field(codes, size=size, factor=factor, layers=layers, maps=named)

    @property
    def image_size(self) -> Size:
        """(h, w) of the image in low-resolution pixels, without its padding."""
        h, w = self.covered or self.size
        return h // self.factor, w // self.factor

    @property
    def nbytes(self) -> int:
        """Bytes of the codes and the maps."""
        return self.codes.nbytes + sum(each.nbytes for each in self.maps.values())

    def at_origin(self, origin: Size, size: Size, covered: Size | None = None) -> "Field":
        """Return the same codes as a window at `origin` of a grid of `size`, of which the image
        covers a part; all in low-resolution pixels."""
        (top, left), (h, w), k = origin, size, self.factor
        part = None if covered in (None, size) else (covered[0] * k, covered[1] * k)
        return replace(self, origin=(top * k, left * k), size=(h * k, w * k), covered=part)

    def coord_to_grid(self, coord: Tensor, axis: int) -> Tensor:
        """Return coordinates of the image along an axis (0 for y) as those of the whole grid, which
        are others if the image was padded."""
        if self.covered is None:
            return coord
        return (coord + 1) * (self.covered[axis] / self.size[axis]) - 1

    def cell_to_grid(self, cell: Tensor) -> Tensor:
        """As `coord_to_grid`, for cells (…, 2)."""
        if self.covered is None:
            return cell
        ratios = zip(self.covered, self.size, strict=True)
        return torch.stack([cell[..., i] * (a / b) for i, (a, b) in enumerate(ratios)], dim=-1)

    def window(self, rows: Size, cols: Size, reach: int = 1) -> "Field":
        """Return the codes that queries inside low-resolution pixels rows × cols use, without a
        copy; rows and cols are (first, last + 1). `reach` is the decoder's."""
        spans: list[slice] = []
        for (first, last), at in zip((rows, cols), self.origin, strict=True):
            # Rounding of coordinates reaches one cell further.
            start, end = (edge * self.factor - at for edge in (first, last))
            start, end = start - reach - 1, end + reach + 1
            spans.append(slice(max(start, 0), end))
        (top, left), (y, x) = self.origin, spans
        maps = {name: each[:, y, x] for name, each in self.maps.items()}
        origin = (top + y.start, left + x.start)
        return replace(self, codes=self.codes[:, y, x], maps=maps, origin=origin)

    def gather(self, row: Tensor, col: Tensor, name: str | None = None) -> Tensor:
        """Return the codes (B, …, K), or the vectors of the map `name`, at indices row and col, of
        broadcastable shapes whose first dimension is 1 or B."""
        vectors = self.codes if name is None else self.maps[name]
        return F.embedding(self._index(row, col), vectors.flatten(0, 2))

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

    def local(self, index: Tensor, axis: int) -> Tensor:
        """Return indices along an axis (0 for rows) of the whole grid as those of the window; those
        outside as its edge."""
        return (index - self.origin[axis]).clamp(0, self.codes.shape[1 + axis] - 1)

    def _index(self, row: Tensor, col: Tensor) -> Tensor:
        """Return the indices in codes.flatten(0, 2) of a row and a column of the whole grid."""
        B, rows, cols, _ = self.codes.shape
        index = self.local(row, 0) * cols + self.local(col, 1)
        if B > 1 or is_exporting():  # exported graphs take any number of images
            image = torch.arange(B, device=index.device).view(-1, *[1] * (index.dim() - 1))
            index = index + image * (rows * cols)
        return index


Taps = Callable[[Tensor, int], list[tuple[Tensor, Tensor]]]
"""A kernel of interpolation: of coordinates along an axis of n cells, it returns the index of each
cell that a coordinate's value depends on, and its weight."""


def bilinear(field: Field, y: Tensor, x: Tensor, name: str = "lr") -> Tensor:
    """Interpolate a map of the field bilinearly, (B, …, K) at coordinates y and x of broadcastable
    shapes whose first dimension is 1 or B; beyond the outer pixel centres the values are those of
    the edge. With the normalised image as the map "lr" it is the residual that most decoders after
    LIIF add to: `grid_sample` with mode bilinear, padding border, align_corners False."""
    return interpolate(field, y, x, bilinear_taps, name)


def interpolate(field: Field, y: Tensor, x: Tensor, taps: Taps, name: str = "lr") -> Tensor:
    """As `bilinear`, with the kernel that is given by its taps."""
    rows, cols = (taps(*each) for each in zip((y, x), field.size, strict=True))
    parts = [
        field.gather(i, j, name) * (of_row * of_col)[..., None]
        for i, of_row in rows
        for j, of_col in cols
    ]
    return sum(parts[1:], start=parts[0])


def bilinear_taps(coord: Tensor, n: int) -> list[tuple[Tensor, Tensor]]:
    """Return the taps of the two cells around a coordinate."""
    position = (((coord + 1) * n - 1) / 2).clamp(0, n - 1)
    index = position.floor()
    right, first = position - index, index.long()
    return [(first, 1 - right), (first + 1, right)]


def bicubic_taps(coord: Tensor, n: int) -> list[tuple[Tensor, Tensor]]:
    """Return the taps of Keys' kernel, a = -0.5, of the four cells around a coordinate."""
    position = ((coord + 1) * n - 1) / 2
    first = position.floor()
    t = position - first
    weights = (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )
    return [((first.long() + i - 1).clamp(0, n - 1), weight) for i, weight in enumerate(weights)]
