"""Whole images from a model in bounded memory: encode tile by tile, decode block by block.

A tile is a part of the low-resolution image that is encoded at once, together with the `halo` of
pixels around it that its result depends on. A strip is the rows of the result that one row of
tiles gives. A block is a square of result pixels that is decoded at once.

Letters: B batch, h w low-resolution grid, H W high-resolution grid, R rows of a part.
"""

import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise, product
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from liif.core.memory import is_out_of_memory
from liif.core.parallel import parallel_for
from liif.core.sizes import Size, borders
from liif.models.channels import Channels
from liif.models.decoder import Decoder, PointSum
from liif.models.field import Field
from liif.models.geometry import Grid, grid_coord
from liif.models.precision import HALF_NAMES, autocast, precision_context
from liif.models.precision_names import UsedPrecision

T = TypeVar("T")
Watch = Callable[[int, int], None]
"""Is told what is done, from any thread: (low-resolution pixels encoded, pixels decoded)."""
Region = tuple[Size, Size]
"""Rows and columns of an image, each as (first, last + 1)."""
CPU_BUDGET = 2**30
"""Bytes that encoding and decoding one tile may keep alive on a CPU."""
STRIP_BYTES = 2**27
"""Size of a float32 strip: a large result is never in memory as a whole."""
SMALLEST_TILE = 32
"""Side of the smallest tiles, in low-resolution pixels."""
SMALLEST_HALF_BLOCK = 64
"""Side of the smallest block on a CPU in half precision, whose products are faster."""
SMALLEST_GPU_BLOCK = 64
"""Side of the smallest block on a GPU; the others are twice, four times, … as large."""
GPU_BLOCK_BYTES = 2**32
"""Bytes that decoding a block on a GPU may take, one block at a time: enough to fill any GPU with
work. In float32 the blocks of LIIF's layers are 512 px large, and those of its kernel 4096 px."""

log = logging.getLogger("liif")


class TileableModel(Protocol):
    """The part of `SRModel` that tiling uses."""

    mean: Tensor
    decoder: Decoder

    @property
    def halo(self) -> int | None: ...
    @property
    def peak_channels(self) -> int: ...
    @property
    def channels(self) -> Channels: ...
    @property
    def window(self) -> int: ...
    def frame(self, size: Size) -> Size: ...
    def encode_frame(self, lr: Tensor) -> Field: ...
    def bind(self, field: Field, cell: Tensor) -> Field: ...
    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor: ...


def render_strips(
    model: TileableModel, lr: Tensor, grid: Grid, rows: Size,
    precision: UsedPrecision, memory: int | None, clip_cell: float,
    shared: tuple[Tensor, ...] | None = None, watch: Watch | None = None,
) -> Iterator[tuple[int, Tensor]]:  # fmt: skip
    """Yield rows [first, last) of the grid as strips (first row, (B, C, R, W)), top to bottom.

    lr is (B, C, h, w) in [0, 1], on the model's device and of its type; `memory`, the budget of a
    tile in bytes, and `clip_cell` are as in `SRModel.upscale`, `shared` as returned by
    `whole_statistics`. Where a GPU runs out of memory, blocks are decoded again with half the
    side, then the strip is computed again from tiles of half the side; raises what PyTorch raises
    if the smallest do not fit either, and ValueError for a budget that is not positive.
    """
    tiles = Tiles(model, lr, grid, precision, memory, clip_cell, rows)
    tiles.shared = whole_statistics(tiles) if shared is None else shared
    tiles.watch = watch
    first, end = rows
    while first < end:
        first, strip = tiles.with_smaller_tiles(partial(_strip, tiles, first, end))
        yield first - strip.shape[2], strip


def _strip(tiles: "Tiles", first: int, end: int) -> tuple[int, Tensor]:
    """Return the row after the strip that starts at a row, and the strip."""
    model, W = tiles.model, tiles.grid.size[1]
    last = min(end, next(border for border in tiles.rows() if border > first))
    strip = tiles.lr.new_empty(len(tiles.lr), model.channels.output, last - first, W)
    # The contexts end before `yield`: between strips the caller's own code runs.
    with torch.inference_mode(), precision_context(strip.device, tiles.precision):
        for cols in tiles.cols():
            field = tiles.field((first, last), cols)
            part = strip[..., slice(*cols)]
            side = tiles.block_side(field)
            tiles.block = render(
                model, field, part, (first, last), cols, tiles.grid, tiles.clip_cell, side,
                tiles.watch,
            )  # fmt: skip
            del field
    return last, strip


class Tiles:
    """The tiles of one image, each encoded when it is needed. The last one is kept: an image that
    is one tile is encoded once."""

    def __init__(
        self, model: TileableModel, lr: Tensor, grid: Grid,
        precision: UsedPrecision, memory: int | None, clip_cell: float, used: Size | None = None,
    ) -> None:  # fmt: skip
        """`used` are the rows (first, last + 1) of the result that tiles are needed for."""
        self.model, self.lr, self.grid = model, lr, grid
        self.precision: UsedPrecision = precision
        self.memory, self.clip_cell = memory, clip_cell
        self.used = used or (0, grid.size[0])
        self.side = tile_side(model, lr, grid, memory)
        self.block = sys.maxsize
        """Side of the last blocks, smaller than wanted where a GPU ran out of memory."""
        self.shared: tuple[Tensor, ...] = ()
        self.kept: tuple[Region, Field] | None = None
        self.watch: Watch | None = None

    def rows(self) -> list[int]:
        """Return the borders between the rows of tiles, in rows of the result."""
        H, height = self.grid.size[0], self.grid.extent[0]
        strips = strip_count(self.grid.size, len(self.lr))
        return borders(H, max(math.ceil(height / self.side), strips))

    def cols(self) -> Iterator[Size]:
        """Yield the columns (first, last + 1) of the result that each column of tiles gives."""
        W, width = self.grid.size[1], self.grid.extent[1]
        return (c for c in pairwise(borders(W, math.ceil(width / self.side))) if c[0] < c[1])

    def field(self, rows: Size, cols: Size) -> Field:
        """Return the field of a tile, which gives rows × cols of the result, bound to the cell."""
        size = (self.lr.shape[2], self.lr.shape[3])
        if self.side >= max(self.grid.extent):
            rows, cols = self.used, (0, self.grid.size[1])
        region = tile_of(self.model, size, self.grid.spans(rows, cols))
        if self.kept is None or self.kept[0] != region:
            self.kept = None
            tile = cut(self.lr, region).contiguous(memory_format=torch.channels_last)
            origin, frame = (region[0][0], region[1][0]), self.model.frame(size)
            field = self.model.encode_frame(tile).at_origin(origin, frame, covered=size)
            cell = self.grid.cell(self.model.mean, self.clip_cell)
            self.kept = region, self.model.bind(field, cell)
            if self.watch is not None:
                self.watch(tile.shape[2] * tile.shape[3], 0)
        return replace(self.kept[1], shared=self.shared)

    def block_side(self, field: Field) -> int:
        """Return the side of the blocks to decode a tile in."""
        return min(block_side(self.model.decoder, field, self.memory), self.block)

    def with_smaller_tiles(self, compute: Callable[[], T]) -> T:
        """Return `compute()`, called again with tiles of half the side where a GPU runs out of
        memory; raises what PyTorch raises if the smallest do not fit either."""
        while True:
            try:
                return compute()
            except RuntimeError as error:
                is_smallest = self.side <= SMALLEST_TILE or self.model.halo is None
                if is_smallest or not is_out_of_memory(error):
                    raise
            # Not inside `except`: the traceback would keep the tensors of the failed try alive.
            self.kept = None
            torch.cuda.empty_cache()
            self.side = max(min(self.side, max(self.lr.shape[2:])) // 2, SMALLEST_TILE)
            log.warning("out of memory; continuing with tiles of %d px", self.side)


class AllPoints:
    """All pixels of a grid as the points of `Decoder.statistics`, tile by tile and block by block.

    Sums are accumulated in float64, in the order of the tiles and blocks: the same for any number
    of threads.
    """

    def __init__(self, tiles: Tiles, step: int = 1) -> None:
        """With `step`, only every so-many-th row and column is used."""
        self.tiles, self.step = tiles, step

    def mean(self, function: PointSum) -> Tensor:
        """As `Points.mean`."""
        tiles, total = self.tiles, None
        for rows in pairwise(tiles.rows()):
            for cols in tiles.cols():
                for part in self._sums(tiles.field(rows, cols), rows, cols, function):
                    total = part if total is None else total + part
        assert total is not None
        count = math.prod(len(range(0, n, self.step)) for n in tiles.grid.size)
        return (total / count).to(tiles.lr.device, torch.float32)

    def _sums(self, field: Field, rows: Size, cols: Size, function: PointSum) -> Iterable[Tensor]:
        """Return the sums over the blocks of a tile, on the CPU, as not every device has float64;
        they are copied there at once, as each copy waits for the device."""
        tiles, step = self.tiles, self.step
        grid = tiles.grid
        y, x = (
            field.coord_to_grid(grid.centres(axis, tiles.model.mean.float()), axis)
            for axis in (0, 1)
        )
        cell = field.cell_to_grid(grid.cell(tiles.model.mean, tiles.clip_cell))[:, None]
        # Blocks that are halved begin where those of the failed try did, and replace them.
        found: dict[tuple[int, int], Tensor] = {}

        def add(block: Region) -> None:
            (top, bottom), (left, right) = block
            chosen = y[top:bottom][-top % step :: step], x[left:right][-left % step :: step]
            coord = grid_coord(*chosen).expand(len(field.codes), -1, -1)
            if coord.shape[1]:
                part = field.window(*grid.spans(*block), tiles.model.decoder.reach)
                found[top, left] = function(part, coord, cell)

        tiles.block = _for_blocks(add, field.codes, rows, cols, tiles.block_side(field))
        return torch.stack([found[key] for key in sorted(found)]).cpu().double() if found else ()


def whole_statistics(tiles: Tiles, step: int = 1) -> tuple[Tensor, ...]:
    """Return what a decoder's colours share: means over all pixels of the whole image at the size
    that the grid's pixels have. With `step`, only every so-many-th row and column is used."""
    model, grid = tiles.model, tiles.grid
    if not model.decoder.has_statistics:
        return ()
    if grid.window is not None or tiles.used != (0, grid.size[0]):
        scaled = zip(grid.size, grid.lr, grid.extent, strict=True)
        H, W = (max(1, round(N * n / extent)) for N, n, extent in scaled)
        grid = Grid((H, W), grid.lr)
        tiles = Tiles(model, tiles.lr, grid, tiles.precision, tiles.memory, tiles.clip_cell)
    points = AllPoints(tiles, step)

    def compute() -> tuple[Tensor, ...]:
        with torch.inference_mode(), precision_context(tiles.lr.device, tiles.precision):
            return model.decoder.statistics(points)

    return tiles.with_smaller_tiles(compute)


def render(
    model: TileableModel, field: Field, out: Tensor, rows: Size, cols: Size, grid: Grid,
    clip: float, side: int, watch: Watch | None = None,
) -> int:  # fmt: skip
    """Decode rows × cols of the grid, each as (first, last), into out (B, C, R, W), in blocks of
    that `block_side`. Return the side of the last blocks: a GPU may have run out of memory."""
    y, x = (grid.centres(axis, model.mean.float()) for axis in (0, 1))
    cell = grid.cell(model.mean, clip)

    def decode(block: Region) -> None:
        (top, bottom), (left, right) = block
        part = field.window(*grid.spans(*block), model.decoder.reach)
        rgb = model.query_grid(part, y[top:bottom], x[left:right], cell).permute(0, 3, 1, 2)
        out[..., top - rows[0] : bottom - rows[0], left - cols[0] : right - cols[0]] = rgb
        if watch is not None:
            watch(0, (bottom - top) * (right - left))

    return _for_blocks(decode, field.codes, rows, cols, side)


def block_side(decoder: Decoder, field: Field, memory: int | None = None) -> int:
    """Return the side of the blocks to decode a field in: on a GPU the largest ones that fit its
    free memory, and the budget `memory` in bytes."""
    codes = field.codes
    if codes.is_cuda:
        free = min(GPU_BLOCK_BYTES, memory_budget(codes), memory or GPU_BLOCK_BYTES)
        pixels = free // (len(codes) * decoder.pixel_bytes(field))
        return max(SMALLEST_GPU_BLOCK, 1 << max(0, math.isqrt(pixels).bit_length() - 1))
    if codes.dtype in HALF_NAMES:
        return max(decoder.block, SMALLEST_HALF_BLOCK)
    return decoder.block


def _for_blocks(
    function: Callable[[Region], None], codes: Tensor, rows: Size, cols: Size, side: int
) -> int:
    """Call a function with every block of rows × cols, in inference mode, in the precision that the
    codes have: on a CPU in parallel, on a GPU again with blocks of half the side if it runs out of
    memory. Return the side of the last blocks."""

    @torch.inference_mode()  # this mode and autocast are set for each thread
    def call(corner: tuple[int, int]) -> None:
        top, left = corner
        block = (top, min(top + side, rows[1])), (left, min(left + side, cols[1]))
        with autocast(codes.device, HALF_NAMES.get(codes.dtype, "float32")):
            function(block)

    if codes.device.type == "cpu":
        parallel_for(call, product(range(*rows, side), range(*cols, side)))
        return side
    while True:
        try:
            for corner in product(range(*rows, side), range(*cols, side)):
                call(corner)
            return side
        except RuntimeError as error:
            if side <= SMALLEST_GPU_BLOCK or not is_out_of_memory(error):
                raise
        # Not inside `except`: the traceback would keep the tensors of the failed try alive.
        torch.cuda.empty_cache()
        longest = max(rows[1] - rows[0], cols[1] - cols[0])
        side //= 2
        while side >= longest and side > SMALLEST_GPU_BLOCK:  # still one block
            side //= 2
        log.warning("out of GPU memory; continuing with blocks of %d px", side)


def tile_of(model: TileableModel, size: Size, region: Region) -> Region:
    """Return the pixels of the padded image that must be encoded for a region of an image of `size`
    (h, w): with the halo, and whole windows."""
    frame, step, halo = model.frame(size), model.window, model.halo
    if halo is None:
        return (0, frame[0]), (0, frame[1])
    y, x = (
        (max(first - halo, 0) // step * step, min(-(-(last + halo) // step) * step, end))
        for (first, last), end in zip(region, frame, strict=True)
    )
    return y, x


def cut(image: Tensor, region: Region) -> Tensor:
    """Return pixels rows × columns of an image (…, h, w), which is continued by its mirror image,
    with the edge repeated, beyond the lower and the right edge."""
    for axis, (first, last) in zip((-2, -1), region, strict=True):
        n = image.shape[axis]
        if last <= n:
            image = image.narrow(axis, first, last - first)
        else:
            index = torch.arange(first, last, device=image.device) % (2 * n)
            image = image.index_select(axis, torch.minimum(index, 2 * n - 1 - index))
    return image


def tile_side(model: TileableModel, lr: Tensor, grid: Grid, memory: int | None) -> int:
    """Return the side, in low-resolution pixels, of the largest tiles that fit the budget with
    their halo. Raises ValueError for a budget that is not positive."""
    if memory is not None and memory <= 0:
        raise ValueError(f"memory must be positive, not {memory}")
    pixel_bytes = model.peak_channels * len(lr) * lr.element_size()
    halo = model.halo
    if halo is None:
        needed = math.prod(model.frame(grid.lr)) * pixel_bytes
        if needed > (memory_budget(lr) if memory is None else memory):
            log.warning(
                "the model sees the whole image, which cannot be split into tiles: it takes "
                "about %.1f GB of memory; enlarge parts of the image, or use another model",
                needed / 1e9,
            )
        return max(grid.lr)
    if memory is None:
        # A tile as wide as its halo encodes every pixel nine times; smaller ones waste more.
        memory = max(memory_budget(lr), (3 * halo) ** 2 * pixel_bytes)
    pixels = memory // pixel_bytes
    beyond = 0 if grid.window is None else 2 * halo
    h, w = (min(math.ceil(e) + beyond, n) for e, n in zip(grid.extent, grid.lr, strict=True))
    if h * w <= pixels:
        return max(h, w)
    return max(int(pixels**0.5) - 2 * halo, SMALLEST_TILE)


def memory_budget(lr: Tensor) -> int:
    """Return the default budget in bytes on the device of lr: half of the free memory of a GPU,
    with what PyTorch's allocator holds unused, and CPU_BUDGET elsewhere."""
    if not lr.is_cuda:
        return CPU_BUDGET
    unused = torch.cuda.memory_reserved(lr.device) - torch.cuda.memory_allocated(lr.device)
    return (torch.cuda.mem_get_info(lr.device)[0] + unused) // 2


def strip_count(size: Size, batch: int = 1) -> int:
    """Return how many strips of STRIP_BYTES a result (batch, 3, H, W) in float32 takes."""
    return -(-3 * 4 * batch * math.prod(size) // STRIP_BYTES)
