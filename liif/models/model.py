"""The model: an encoder and a decoder that together make an image continuous.

Letters: B batch, h w low-resolution grid, H W high-resolution grid, Q queried points, R rows.
Images are (B, 3, h, w) float in [0, 1]; encoder and decoder work on (x - 0.5) / 0.5.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from liif.core.sizes import Size, Window, target_size
from liif.images.convert import ImageLike, apply_to_image
from liif.models.field import Field
from liif.models.geometry import Grid
from liif.models.precision import Precision, precision_context, tf32_context
from liif.models.tiling import render, render_strips


class Encoder(Protocol):
    """Maps a normalised image (B, 3, h, w) to features (B, width, h, w)."""

    width: int
    """Channels of the features."""
    radius: int
    """Distance in pixels up to which an input pixel can change a feature."""
    peak_channels: int
    """Channels of feature maps that are alive at once, for the choice of tiles."""

    def __call__(self, lr: Tensor) -> Tensor: ...


class Decoder(Protocol):
    """Predicts colours at any points. Its methods keep nothing between calls."""

    radius: int
    """Distance in low-resolution pixels up to which a feature can change a code of `prepare`."""
    code_channels: int
    """Channels that `prepare` keeps alive for each low-resolution pixel."""

    def prepare(self, feat: Tensor, lr: Tensor) -> Field:
        """Compute what does not depend on the query, once per image, from feat (B, width, h, w) and
        the normalised image lr (B, 3, h, w)."""
        ...

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, Q, 3) at coord (B, Q, 2) for cell (B, Q, 2) or (B, 1, 2),
        all as (y, x)."""
        ...

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """Return normalised colours (B, R, W, 3) of rows y (R,), columns x (W,), a cell (1, 2)."""
        ...


class SRModel(nn.Module):
    """A super-resolution model of any scale: encode an image once, then query any of its points. It
    owns the normalisation: all images that it takes and gives are in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.register_buffer("mean", torch.tensor(0.5), persistent=False)
        self.register_buffer("std", torch.tensor(0.5), persistent=False)

    @property
    def halo(self) -> int:
        """Low-resolution pixels around a tile that its result depends on."""
        return self.encoder.radius + self.decoder.radius + 1

    @property
    def peak_channels(self) -> int:
        """Values that encoding and decoding keep alive for each low-resolution pixel."""
        encoder = self.encoder
        return max(encoder.peak_channels, encoder.width + self.decoder.code_channels)

    def encode(self, lr: Tensor) -> Field:
        """Encode lr (B, 3, h, w) in [0, 1] to what `query` needs, once per image."""
        lr = (lr - self.mean) / self.std
        return self.decoder.prepare(self.encoder(lr), lr)

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return colours (B, Q, 3) in image units, not clamped, at coord (B, Q, 2) as (y, x) in
        [-1, 1]; cell is the size of the queried pixels, (2/H, 2/W): (B, Q, 2), (B, 1, 2) or (B, 2).
        """
        if cell.dim() == 2:
            cell = cell[:, None]
        return self.decoder.query(field, coord, cell) * self.std + self.mean

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """As `query` for all points of rows y (R,) and columns x (W,), with one cell (1, 2):
        colours (B, R, W, 3)."""
        return self.decoder.query_grid(field, y, x, cell) * self.std + self.mean

    def forward(self, lr: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
        """Encode lr and query coord in one call."""
        return self.query(self.encode(lr), coord, cell)

    def upscale(
        self,
        lr: ImageLike,
        size: Size | None = None,
        *,
        scale: float | tuple[float, float] | None = None,
        window: Window | None = None,
        clamp: bool = True,
        precision: Precision = "float32",
        memory: int | None = None,
        clip_cell: float = math.inf,
    ) -> ImageLike:
        """Return the whole image at any size: (3, h, w) -> (3, H, W), or with a batch in front.
        Raises ValueError if lr is no image, or a size, scale, window or memory budget is invalid.

        Args:
            lr: float tensor in [0, 1]; or a PIL image, a NumPy array (h, w) or (h, w, C), or an
                integer tensor: the result is of the same kind (images/convert.py).
            size: (H, W) of the result; or
            scale: a factor, or (vertical, horizontal) factors; sizes are rounded.
            window: show this part of the image only; `size` and `scale` are the window's.
            clamp: limit the result to [0, 1].
            precision: "bf16" computes convolutions and matrix products in bfloat16: several times
                as fast on hardware with bfloat16 units, at a loss below 0.01 dB on Set5 and Set14.
                "tf32" lets NVIDIA GPUs round their inputs to TF32.
            memory: approximate budget in bytes; larger images are computed in tiles, with the same
                result up to float rounding. By default half of the free memory of a GPU, and 1 GB
                on a CPU.
            clip_cell: beyond this scale the decoder is given the cell of this scale.
        """
        if not isinstance(lr, Tensor) or not lr.is_floating_point():
            options = {"size": size, "scale": scale, "window": window, "clamp": clamp}
            options |= {"precision": precision, "memory": memory, "clip_cell": clip_cell}
            return apply_to_image(partial(self.upscale, **options), lr)
        if lr.dim() not in (3, 4) or lr.shape[-3] != 3 or 0 in lr.shape:
            raise ValueError(f"lr has shape {tuple(lr.shape)}, not (3, h, w) or (B, 3, h, w)")
        extent = (lr.shape[-2], lr.shape[-1]) if window is None else window[2:]
        size = target_size(extent, size=size, scale=scale)
        batch = lr if lr.dim() == 4 else lr[None]
        out = lr.new_full((*batch.shape[:2], *size), torch.nan)
        strips = partial(self.strips, precision=precision, memory=memory, clip_cell=clip_cell)
        for top, strip in strips(batch, size, window=window):
            out[:, :, top : top + strip.shape[2]] = strip.clamp(0, 1) if clamp else strip
        return out if lr.dim() == 4 else out[0]

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
        """Yield the image of `upscale`, not clamped, as (first row, (B, 3, R, W)) from top to
        bottom: a result larger than memory can be written strip by strip.

        lr is (B, 3, h, w) in [0, 1], `size` (H, W) of the result, and `rows` (first, last + 1) the
        rows to compute, by default all; the other options are those of `upscale`.
        """
        lr = lr.detach().to(self.mean)
        grid = Grid(size, (lr.shape[2], lr.shape[3]), window)
        rows = rows or (0, size[0])
        return render_strips(self, lr, grid, rows, precision, memory, clip_cell)

    @torch.no_grad()
    def encoded(self, lr: Tensor, *, precision: Precision = "float32") -> Field:
        """As `encode`, for rendering one image many times: without gradients, and in one piece,
        however much memory that takes."""
        with precision_context(self.mean.device, precision):
            return self.encode(lr.to(self.mean).contiguous(memory_format=torch.channels_last))

    def rendered(
        self,
        field: Field,
        size: Size,
        *,
        window: Window | None = None,
        rows: Size | None = None,
        clip_cell: float = math.inf,
        precision: Precision = "float32",
    ) -> Tensor:
        """Return the image of `upscale`, not clamped, from a field of `encoded`: (B, 3, H, W), or
        only `rows` of it, as (first, last + 1). A field in bfloat16 is decoded in bfloat16."""
        lr = (field.size[0] // field.factor, field.size[1] // field.factor)
        rows = rows or (0, size[0])
        out = self.mean.new_empty(len(field.codes), 3, rows[1] - rows[0], size[1])
        with torch.inference_mode(), tf32_context(out.device, precision):
            render(self, field, out, rows, (0, size[1]), Grid(size, lr, window), clip_cell)
        return out
