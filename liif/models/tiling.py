"""Whole images from a model in bounded memory: encode tile by tile, decode block by block.

A tile is a part of the low-resolution image that is encoded at once, together with the `halo` of
pixels around it that its result depends on. A strip is the rows of the result that one row of
tiles gives. A block is a square of result pixels that is decoded at once.

Letters: B batch, h w low-resolution grid, H W high-resolution grid, R rows of a part.
"""

import logging
import math
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Protocol

import torch
from torch import Tensor

from liif.core.parallel import parallel_for
from liif.core.sizes import Size, borders
from liif.models.field import Field
from liif.models.geometry import Grid
from liif.models.precision import Precision, autocast, precision_context

CPU_BUDGET = 2**30
"""Bytes that encoding and decoding one tile may keep alive on a CPU."""
STRIP_BYTES = 2**27
"""Size of a float32 strip: a large result is never in memory as a whole."""
SMALLEST_TILE = 32
"""Side of the smallest tiles, in low-resolution pixels."""
BLOCK_SIDES = {torch.float32: 32, torch.bfloat16: 64}
"""Side of a block on a CPU, one block for each core: large enough for efficient matrix products,
small enough for the caches and for the C library to reuse the memory."""
GPU_BLOCK_SIDE = 512
"""Side of a block on a GPU, one block at a time; its largest tensors take 1 GB."""

log = logging.getLogger("liif")


class TileableModel(Protocol):
    """The part of `SRModel` that tiling uses."""

    mean: Tensor

    @property
    def halo(self) -> int: ...
    @property
    def peak_channels(self) -> int: ...
    def encode(self, lr: Tensor) -> Field: ...
    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor: ...


def render_strips(
    model: TileableModel, lr: Tensor, grid: Grid, rows: Size,
    precision: Precision, memory: int | None, clip_cell: float,
) -> Iterator[tuple[int, Tensor]]:  # fmt: skip
    """Yield rows [first, last) of the grid as strips (first row, (B, 3, R, W)), top to bottom.

    lr is (B, 3, h, w) in [0, 1], on the model's device and of its type; `memory`, the budget of a
    tile in bytes, and `clip_cell` are as in `SRModel.upscale`. Where a GPU runs out of memory, the
    strip is computed again from tiles of half the side; raises torch.OutOfMemoryError if the
    smallest do not fit either, and ValueError for a budget that is not positive.
    """
    side = tile_side(model, lr, grid, memory)
    (H, W), (first, end) = grid.size, rows
    while first < end:
        parts = max(math.ceil(grid.extent[0] / side), strip_count(grid.size, len(lr)))
        last = min(end, next(border for border in borders(H, parts) if border > first))
        strip = lr.new_empty(len(lr), 3, last - first, W)
        try:
            # The contexts end before `yield`: between strips the caller's own code runs.
            with torch.inference_mode(), precision_context(lr.device, precision):
                for cols in pairwise(borders(W, math.ceil(grid.extent[1] / side))):
                    if cols[0] < cols[1]:
                        field = _encode_window(model, lr, grid.spans((first, last), cols))
                        part = strip[..., slice(*cols)]
                        render(model, field, part, (first, last), cols, grid, clip_cell)
                        del field
        except torch.OutOfMemoryError:
            if side <= SMALLEST_TILE:
                raise
        else:
            yield first, strip
            first = last
            continue
        # Not inside `except`: the traceback would keep the tensors of the failed try alive.
        del strip
        torch.cuda.empty_cache()
        side = max(min(side, max(lr.shape[2:])) // 2, SMALLEST_TILE)
        log.warning("out of GPU memory; continuing with tiles of %d px", side)


def render(
    model: TileableModel, field: Field, out: Tensor, rows: Size, cols: Size, grid: Grid, clip: float
) -> None:
    """Decode rows × cols of the grid, each as (first, last), into out (B, 3, R, W)."""
    y, x = (grid.centres(axis, model.mean.float()) for axis in (0, 1))
    cell = grid.cell(model.mean, clip)
    dtype = field.codes.dtype
    side = GPU_BLOCK_SIDE if out.is_cuda else BLOCK_SIDES.get(dtype, 32)

    @torch.inference_mode()  # this mode and autocast are set for each thread
    def decode(corner: tuple[int, int]) -> None:
        top, left = corner
        bottom, right = min(top + side, rows[1]), min(left + side, cols[1])
        part = field.window(*grid.spans((top, bottom), (left, right)))
        with autocast(out.device, "bf16" if dtype == torch.bfloat16 else "float32"):
            rgb = model.query_grid(part, y[top:bottom], x[left:right], cell).permute(0, 3, 1, 2)
        out[..., top - rows[0] : bottom - rows[0], left - cols[0] : right - cols[0]] = rgb

    corners = product(range(*rows, side), range(*cols, side))
    if out.device.type == "cpu":
        parallel_for(decode, corners)
    else:
        for corner in corners:
            decode(corner)


def tile_side(model: TileableModel, lr: Tensor, grid: Grid, memory: int | None) -> int:
    """Return the side, in low-resolution pixels, of the largest tiles that fit the budget with
    their halo. Raises ValueError for a budget that is not positive."""
    if memory is not None and memory <= 0:
        raise ValueError(f"memory must be positive, not {memory}")
    pixel_bytes = model.peak_channels * len(lr) * lr.element_size()
    if memory is None:
        # A tile as wide as its halo encodes every pixel nine times; smaller ones waste more.
        memory = max(memory_budget(lr), (3 * model.halo) ** 2 * pixel_bytes)
    pixels = memory // pixel_bytes
    beyond = 0 if grid.window is None else 2 * model.halo
    h, w = (min(math.ceil(e) + beyond, n) for e, n in zip(grid.extent, grid.lr, strict=True))
    if h * w <= pixels:
        return max(h, w)
    return max(int(pixels**0.5) - 2 * model.halo, SMALLEST_TILE)


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


def _encode_window(model: TileableModel, lr: Tensor, spans: tuple[Size, Size]) -> Field:
    """Encode low-resolution pixels rows × columns with their halo."""
    y, x = (slice(max(first - model.halo, 0), last + model.halo) for first, last in spans)
    window = lr[..., y, x].contiguous(memory_format=torch.channels_last)
    return model.encode(window).at_origin((y.start, x.start), (lr.shape[2], lr.shape[3]))
