"""An encoder and a decoder as one continuous image: encode once, ask for any pixel of any size.

Letters: B batch, h w low-resolution grid, H W high-resolution grid, Q queried points. Images are
(B, 3, h, w) float in [0, 1]; inside, values are (x - 0.5) / 0.5.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from liif.geometry import Field, Size, cell_of, pixel_centres

Precision = Literal["float32", "bf16"]

MEMORY = 2**30
"""Budget on a CPU, in bytes, for what encoding and decoding one tile keeps alive."""
QUERIES = 4096
"""Pixels decoded at a time: enough for the matrix products, little enough for the caches."""


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
        lr: Tensor,
        size: Size | None = None,
        *,
        scale: float | tuple[float, float] | None = None,
        clamp: bool = True,
        precision: Precision = "float32",
        memory: int | None = None,
    ) -> Tensor:
        """The whole image at any size: (3, h, w) -> (3, H, W), or with a batch in front.

        Args:
            lr: float in [0, 1].
            size: (H, W) of the result; or
            scale: a factor, or (vertical, horizontal) ones; sizes are rounded.
            clamp: keep the result in [0, 1]; without it overshoot stays.
            precision: "bf16" runs convolutions and matrix products in bfloat16: several times as
                fast where the machine has units for it, at a loss below 0.01 dB on Set5.
            memory: bytes for what encoding and decoding keep alive, approximately; beyond it the
                image is worked through in tiles, with the same result to float rounding. By
                default half of what is free on a GPU, and about 1 GB on a CPU.

        Raises:
            ValueError: not an image, or a size, scale or memory budget that cannot be.
        """
        if lr.dim() not in (3, 4) or lr.shape[-3] != 3 or 0 in lr.shape:
            raise ValueError(f"lr has shape {tuple(lr.shape)}, not (3, h, w) or (B, 3, h, w)")
        size = target_size((lr.shape[-2], lr.shape[-1]), size=size, scale=scale)
        batch = lr if lr.dim() == 4 else lr[None]
        out = lr.new_full((*batch.shape[:2], *size), torch.nan)
        for top, strip in self.strips(batch, size, precision=precision, memory=memory):
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
    ) -> Iterator[tuple[int, Tensor]]:
        """The image of `upscale`, not clamped, as (first row, (B, 3, rows, W)) from top to bottom,
        so that a result larger than memory can be written as it is made."""
        (h, w), (H, W) = lr.shape[-2:], size
        lr = lr.to(self.mean)
        rows, cols = self._tiles(lr, memory)
        for top, bottom in pairwise(rows):
            first, last = first_pixel(top, h, H), first_pixel(bottom, h, H)
            if first == last:
                continue
            strip = lr.new_empty(lr.shape[0], 3, last - first, W)
            for left, right in pairwise(cols):
                start, stop = first_pixel(left, w, W), first_pixel(right, w, W)
                if start < stop:
                    # Not around the loop: between strips the caller's own code runs.
                    with _autocast(lr, precision):
                        field = self._encode_window(lr, (top, left), (bottom, right))
                        part = strip[..., start:stop]
                        self._fill(part, field, (first, last), (start, stop), size)
            yield first, strip

    def _tiles(self, lr: Tensor, memory: int | None) -> tuple[list[int], list[int]]:
        """Row and column borders of tiles that fit the budget with their halo."""
        if memory is not None and memory <= 0:
            raise ValueError(f"memory must be positive, not {memory}")
        B, _, h, w = lr.shape
        encoder, decoder = self.encoder, self.decoder
        channels = max(encoder.peak_channels, encoder.width + decoder.code_channels)
        pixel_bytes = channels * B * lr.element_size()
        halo = encoder.radius + decoder.radius + 1
        if memory is None:
            free = torch.cuda.mem_get_info(lr.device)[0] // 2 if lr.is_cuda else MEMORY
            # A tile as wide as its halo is encoded nine times over; smaller would be absurd.
            memory = max(free, (3 * halo) ** 2 * pixel_bytes)
        pixels = memory // pixel_bytes
        if h * w <= pixels:
            return [0, h], [0, w]
        side = max(int(pixels**0.5) - 2 * halo, 32)
        return _borders(h, side), _borders(w, side)

    def _encode_window(self, lr: Tensor, start: Size, stop: Size) -> Field:
        """Encode the pixels [start, stop) with as much of their surroundings as they depend on."""
        h, w = lr.shape[-2:]
        halo = self.encoder.radius + self.decoder.radius + 1
        top, left = max(start[0] - halo, 0), max(start[1] - halo, 0)
        bottom, right = min(stop[0] + halo, h), min(stop[1] + halo, w)
        return self.encode(lr[..., top:bottom, left:right]).placed((top, left), (h, w))

    def _fill(self, out: Tensor, field: Field, rows: Size, cols: Size, size: Size) -> None:
        """Decode rows × cols of the H × W grid into out (B, 3, R, W), a few rows at a time."""
        y = pixel_centres(size[0], self.mean.float())[slice(*rows)]
        x = pixel_centres(size[1], self.mean.float())[slice(*cols)]
        cell = cell_of(size, y)
        band = max(1, QUERIES // (out.shape[0] * len(x)))
        for i in range(0, len(y), band):
            for j in range(0, len(x), QUERIES):
                rgb = self.decoder.query_grid(field, y[i : i + band], x[j : j + QUERIES], cell)
                rgb = (rgb * self.std + self.mean).permute(0, 3, 1, 2)
                out[:, :, i : i + band, j : j + QUERIES] = rgb


def _autocast(lr: Tensor, precision: Precision) -> torch.autocast:
    return torch.autocast(lr.device.type, torch.bfloat16, enabled=precision == "bf16")


def target_size(
    lr: Size, *, size: Size | None = None, scale: float | tuple[float, float] | None = None
) -> Size:
    """(H, W) from exactly one of a size and a scale; ValueError for anything that is not one."""
    if (size is None) == (scale is None):
        raise ValueError("give exactly one of size=(H, W) and scale=")
    if scale is not None:
        sy, sx = scale if isinstance(scale, tuple) else (scale, scale)
        if not (0 < sy < float("inf") and 0 < sx < float("inf")):
            raise ValueError(f"scale must be positive, not {scale}")
        return max(1, round(lr[0] * sy)), max(1, round(lr[1] * sx))
    H, W = cast(Size, size)
    if H < 1 or W < 1 or int(H) != H or int(W) != W:
        raise ValueError(f"size must be two positive whole numbers, not {size}")
    return int(H), int(W)


def first_pixel(border: int, n: int, N: int) -> int:
    """The first of N pixels whose centre lies at or after the start of pixel `border` of n."""
    return max(0, -((n - 2 * border * N) // (2 * n)))


def _borders(n: int, side: int) -> list[int]:
    """n cut into equal parts of at most `side`."""
    parts = -(-n // side)
    return [n * i // parts for i in range(parts + 1)]
