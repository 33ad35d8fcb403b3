"""An encoder and a decoder as one continuous image: encode once, ask for any pixel of any size.

Letters: B batch, h w low-resolution grid, H W high-resolution grid, Q queried points. Images are
(B, 3, h, w) float in [0, 1]; inside, values are (x - 0.5) / 0.5.
"""

import logging
import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise, product
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from liif.core.parallel import parallel_for
from liif.core.sizes import Size, Window, borders, target_size
from liif.images.convert import Picture, apply_to_image
from liif.models.field import Field
from liif.models.geometry import Grid

Precision = Literal["float32", "bf16"]

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
MEMORY = 2**30
"""Budget on a CPU, in bytes, for what encoding and decoding one tile keeps alive."""
STRIP = 2**27
"""Bytes of result made at a time: a large enlargement is never in memory as a whole."""
SMALLEST = 32
"""Side of the smallest tiles, in low-resolution pixels."""
BLOCK = {torch.float32: 32, torch.bfloat16: 64}
"""Side of the squares of pixels decoded at a time, one to a core: enough for the matrix products,
little enough for the caches and the C library to keep the memory."""
BLOCK_GPU = 512
"""The same on a GPU, one at a time on all of it; not measured yet. Its largest tensors: 1 GB."""

log = logging.getLogger("liif")


class Encoder(Protocol):
    """Turns a normalised image (B, 3, h, w) into a feature map (B, width, h, w)."""

    width: int
    radius: int
    """How many pixels away an input pixel can change an output pixel."""
    peak_channels: int
    """Channels of feature maps alive at once, for the choice of tiles."""

    def __call__(self, lr: Tensor) -> Tensor: ...


class Decoder(Protocol):
    """Answers colour queries. All methods are pure: nothing is kept between calls."""

    radius: int
    """As the encoder's, of `prepare`, in low-resolution pixels."""
    code_channels: int
    """Channels that `prepare` keeps alive per low-resolution pixel."""

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """All that does not depend on the query, once per image; lr is the normalised image."""
        ...

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Normalised colours (B, Q, 3) at coord (B, Q, 2) for cell (B, Q, 2) or (B, 1, 2)."""
        ...

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """Normalised colours (B, R, W, 3) of rows y (R,), columns x (W,) and one cell (1, 2)."""
        ...


class SRModel(nn.Module):
    """The continuous image of a low-resolution picture. Owns the normalisation."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.register_buffer("mean", torch.tensor(0.5), persistent=False)
        self.register_buffer("std", torch.tensor(0.5), persistent=False)

    def encode(self, lr: Tensor) -> Field:
        """lr (B, 3, h, w) in [0, 1] -> what `query` needs, once per image."""
        lr = (lr - self.mean) / self.std
        return self.decoder.prepare(self.encoder(lr), lr)

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Colours (B, Q, 3) in image units, not clamped, at coord (B, Q, 2), given as (y, x) in
        [-1, 1], for cell (B, Q, 2), (B, 1, 2) or (B, 2), given as (2/H, 2/W)."""
        if cell.dim() == 2:
            cell = cell[:, None]
        return self.decoder.query(field, coord, cell) * self.std + self.mean

    def forward(self, lr: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """Encode and query in one call."""
        return self.query(self.encode(lr), coord, cell)

    def upscale(
        self,
        lr: Picture,
        size: Size | None = None,
        *,
        scale: float | tuple[float, float] | None = None,
        window: Window | None = None,
        clamp: bool = True,
        precision: Precision = "float32",
        memory: int | None = None,
        clip_cell: float = math.inf,
    ) -> Picture:
        """The whole image at any size: (3, h, w) -> (3, H, W), or with a batch in front.

        Args:
            lr: float in [0, 1]; or a PIL image, a NumPy array (h, w) or (h, w, C), or a tensor of
                whole numbers: the result is what was given (anyimage.py).
            size: (H, W) of the result; or
            scale: a factor, or (vertical, horizontal) ones; sizes are rounded.
            window: show this part of the image only; `size` and `scale` are the window's.
            clamp: keep the result in [0, 1]; without it overshoot stays.
            precision: "bf16" runs convolutions and matrix products in bfloat16: several times as
                fast where the machine has units for it, at a loss below 0.01 dB on Set5 and Set14.
            memory: bytes for what encoding and decoding keep alive, approximately; beyond it the
                image is worked through in tiles, with the same result to float rounding. By
                default half of what is free on a GPU, and about 1 GB on a CPU.
            clip_cell: beyond this scale the decoder is given the cell of this scale.

        Raises:
            ValueError: not an image, or a size, scale, window or memory budget that cannot be.
        """
        if not isinstance(lr, Tensor) or not lr.is_floating_point():
            options = {"clamp": clamp, "memory": memory, "precision": precision}
            options |= {"size": size, "scale": scale, "window": window, "clip_cell": clip_cell}
            return apply_to_image(partial(self.upscale, **options), lr)
        if lr.dim() not in (3, 4) or lr.shape[-3] != 3 or 0 in lr.shape:
            raise ValueError(f"lr has shape {tuple(lr.shape)}, not (3, h, w) or (B, 3, h, w)")
        extent = (lr.shape[-2], lr.shape[-1]) if window is None else window[2:]
        size = target_size(extent, size=size, scale=scale)
        batch = lr if lr.dim() == 4 else lr[None]
        out = lr.new_full((*batch.shape[:2], *size), torch.nan)
        strips = self.strips(
            batch, size, precision=precision, memory=memory, clip_cell=clip_cell, window=window
        )
        for top, strip in strips:
            out[:, :, top : top + strip.shape[2]] = strip.clamp(0, 1) if clamp else strip
        return out if lr.dim() == 4 else out[0]

    @torch.inference_mode()
    def strips(
        self,
        lr: Tensor,
        size: Size,
        *,
        precision: Precision = "float32",
        memory: int | None = None,
        clip_cell: float = math.inf,
        rows: Size | None = None,
        window: Window | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """The image of `upscale`, not clamped, as (first row, (B, 3, rows, W)) from top to bottom,
        so that a result larger than memory can be written as it is made; all of it, or `rows`, as
        (first, last + 1)."""
        lr = lr.to(self.mean)
        grid = Grid(size, (lr.shape[2], lr.shape[3]), window)
        side = self._tile(lr, grid, memory)
        first, end = rows or (0, size[0])
        while first < end:
            parts = max(
                math.ceil(grid.extent[0] / side), -(-3 * 4 * len(lr) * math.prod(size) // STRIP)
            )
            last = min(end, next(border for border in borders(size[0], parts) if border > first))
            strip = lr.new_empty(len(lr), 3, last - first, size[1])
            try:
                # Not around the loop: between strips the caller's own code runs.
                with _autocast(lr.device, DTYPES[precision]):
                    self._fill_strip(strip, lr, (first, last), side, grid, clip_cell)
            except torch.OutOfMemoryError:
                if side <= SMALLEST:
                    raise
                side = max(min(side, max(lr.shape[2:])) // 2, SMALLEST)
                torch.cuda.empty_cache()
                log.warning("out of GPU memory; going on in tiles of %d px", side)
                continue
            yield first, strip
            first = last

    @torch.inference_mode()
    def encoded(self, lr: Tensor, *, precision: Precision = "float32") -> Field:
        """As `encode`, for looking at one image many times: without gradients, and at one go,
        whatever memory that takes."""
        with _autocast(self.mean.device, DTYPES[precision]):
            return self.encode(lr.to(self.mean).contiguous(memory_format=torch.channels_last))

    @torch.inference_mode()
    def rendered(
        self,
        field: Field,
        size: Size,
        *,
        window: Window | None = None,
        rows: Size | None = None,
        clip_cell: float = math.inf,
    ) -> Tensor:
        """The image of `upscale`, not clamped, from what `encoded` made: (B, 3, H, W), or of the
        H rows only `rows`, as (first, last + 1)."""
        lr = (field.size[0] // field.factor, field.size[1] // field.factor)
        rows = rows or (0, size[0])
        out = field.codes.new_empty(
            len(field.codes), 3, rows[1] - rows[0], size[1], dtype=self.mean.dtype
        )
        with _autocast(out.device, field.codes.dtype):
            self._fill(out, field, rows, (0, size[1]), Grid(size, lr, window), clip_cell)
        return out

    def _tile(self, lr: Tensor, grid: Grid, memory: int | None) -> int:
        """Side of the tiles, in low-resolution pixels, that fit the budget with their halo."""
        if memory is not None and memory <= 0:
            raise ValueError(f"memory must be positive, not {memory}")
        encoder, decoder = self.encoder, self.decoder
        channels = max(encoder.peak_channels, encoder.width + decoder.code_channels)
        pixel_bytes = channels * len(lr) * lr.element_size()
        if memory is None:
            free = torch.cuda.mem_get_info(lr.device)[0] // 2 if lr.is_cuda else MEMORY
            # A tile as wide as its halo is encoded nine times over; smaller would be absurd.
            memory = max(free, (3 * self.halo) ** 2 * pixel_bytes)
        pixels = memory // pixel_bytes
        beyond = 0 if grid.window is None else 2 * self.halo
        h, w = (min(math.ceil(e) + beyond, n) for e, n in zip(grid.extent, grid.lr, strict=True))
        if h * w <= pixels:
            return max(h, w)
        return max(int(pixels**0.5) - 2 * self.halo, SMALLEST)

    @property
    def halo(self) -> int:
        """Low-resolution pixels around a tile that its result depends on."""
        return self.encoder.radius + self.decoder.radius + 1

    def _fill_strip(
        self, strip: Tensor, lr: Tensor, rows: Size, side: int, grid: Grid, clip_cell: float
    ) -> None:
        """Rows [first, last) of the H × W image into strip (B, 3, last - first, W)."""
        for cols in pairwise(borders(grid.size[1], math.ceil(grid.extent[1] / side))):
            if cols[0] < cols[1]:
                field = self._encode_window(lr, grid.spans(rows, cols))
                self._fill(strip[..., slice(*cols)], field, rows, cols, grid, clip_cell)

    def _encode_window(self, lr: Tensor, spans: tuple[Size, Size]) -> Field:
        """Encode the pixels that the colours over these ones, rows × columns, depend on."""
        y, x = (slice(max(first - self.halo, 0), last + self.halo) for first, last in spans)
        window = lr[..., y, x].contiguous(memory_format=torch.channels_last)
        return self.encode(window).at_origin((y.start, x.start), (lr.shape[2], lr.shape[3]))

    def _fill(
        self, out: Tensor, field: Field, rows: Size, cols: Size, grid: Grid, clip_cell: float
    ) -> None:
        """Decode rows × cols of the grid into out (B, 3, R, W), block by block."""
        y, x = (grid.centres(axis, self.mean.float()) for axis in (0, 1))
        cell = grid.cell(self.mean, clip_cell)
        side = BLOCK_GPU if out.is_cuda else BLOCK.get(field.codes.dtype, 32)

        @torch.inference_mode()  # this and autocast are a thread's own
        def decode(corner: tuple[int, int]) -> None:
            top, left = corner
            bottom, right = min(top + side, rows[1]), min(left + side, cols[1])
            part = field.window(*grid.spans((top, bottom), (left, right)))
            with _autocast(out.device, field.codes.dtype):
                rgb = self.decoder.query_grid(part, y[top:bottom], x[left:right], cell)
            rgb = (rgb * self.std + self.mean).permute(0, 3, 1, 2)
            out[..., top - rows[0] : bottom - rows[0], left - cols[0] : right - cols[0]] = rgb

        corners = product(range(*rows, side), range(*cols, side))
        if out.device.type == "cpu":
            parallel_for(decode, corners)
        else:
            for corner in corners:
                decode(corner)


def _autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)
