"""The model: an encoder and a decoder that together make an image continuous.

Letters: B batch, C channels, h w low-resolution grid, H W high-resolution grid, Q queried points,
R rows. Images are float in [0, 1]; encoder and decoder work on (x - 0.5) / 0.5 by default.
"""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from liif.core.sizes import Size, Window, target_size
from liif.images.convert import ImageLike, apply_to_image, check_range
from liif.models.channels import Channels, Normalization
from liif.models.decoder import Decoder
from liif.models.encoder import Encoder
from liif.models.fastest import used_precision
from liif.models.field import Field
from liif.models.geometry import Grid
from liif.models.precision import HALF_NAMES, autocast, precision_context, tf32_context
from liif.models.precision_names import Precision
from liif.models.tiling import (
    Region,
    Tiles,
    Watch,
    block_side,
    cut,
    render,
    render_strips,
    whole_statistics,
)


class SRModel(nn.Module):
    """A super-resolution model of any scale: encode an image once, then query any of its points. It
    owns the normalisation and the padding: all images that it takes and gives are in [0, 1], and
    coordinates are those of the image.

    On a GPU, methods with an option `precision` compute in it, by default in full float32, whatever
    PyTorch's settings of TF32 are; `forward`, `encode` and `query` follow those settings and
    autocast, as every module does."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        channels: Channels = Channels(),  # noqa: B008
        normalization: Normalization = Normalization(),  # noqa: B008
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.channels = channels
        self.register_buffer("mean", torch.tensor(normalization.mean), persistent=False)
        self.register_buffer("std", torch.tensor(normalization.std), persistent=False)

    @property
    def halo(self) -> int | None:
        """Low-resolution pixels around a tile that its result depends on; None for all."""
        if self.encoder.radius is None or self.decoder.radius is None:
            return None
        return self.encoder.radius + self.decoder.radius + self.decoder.reach

    @property
    def window(self) -> int:
        """Side of whole windows of encoder and decoder: tiles start and end at multiples of it, or
        at the end of the padded image."""
        return math.lcm(self.encoder.window, self.decoder.window)

    @property
    def peak_channels(self) -> int:
        """Values that encoding and decoding keep alive for each low-resolution pixel."""
        encoder = self.encoder
        return max(encoder.peak_channels, encoder.width + self.decoder.code_channels)

    def frame(self, size: Size) -> Size:
        """Return the size to which the encoder's input is padded, with whole windows.

        In evaluation it has at least one more row and column, as published for SwinIR (Lee and Jin,
        LTE, CVPR 2022): the encoder sees the image mirrored beyond its lower and right edge. The
        decoder works on the padded image, too, so that these edges are like any other place.
        """
        n = self.encoder.window
        if n == 1:
            return size
        more = 0 if self.training else 1
        h, w = (-(-(side + more) // n) * n for side in size)
        return h, w

    def encode(self, lr: Tensor) -> Field:
        """Encode lr (B, C, h, w) in [0, 1] to what `query` needs, once per image. Raises ValueError
        for other values, in evaluation mode."""
        if not self.training and not torch.compiler.is_compiling():
            check_range(lr, "lr")  # not in training, where a GPU would wait for it
        size = (lr.shape[-2], lr.shape[-1])
        h, w = frame = self.frame(size)
        padded = cut(lr, ((0, h), (0, w)))
        return self.encode_frame(padded).at_origin((0, 0), frame, covered=size)

    def encode_frame(self, lr: Tensor) -> Field:
        """Encode a padded image, or a tile of whole windows; `encode` without the padding."""
        lr = (lr - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)
        return self.decoder.prepare(self.encoder(lr), lr)

    def bind(self, field: Field, cell: Tensor) -> Field:
        """Return the field for one size of queried pixels: cell (B, 2) or (1, 2). `query` does it
        by itself; bind once for many queries of one size."""
        if not self.decoder.has_bind or field.is_bound:
            return field
        half = HALF_NAMES.get(field.codes.dtype)
        with nullcontext() if half is None else autocast(field.codes.device, half):
            bound = self.decoder.bind(field, field.cell_to_grid(cell))
        return replace(bound, is_bound=True)

    def query(self, field: Field, coord: Tensor, cell: Tensor) -> Tensor:
        """Return colours (B, Q, C) in image units, not clamped, at coord (B, Q, 2) as (y, x) in
        [-1, 1]; cell is the size of the queried pixels, (2/H, 2/W): (B, Q, 2), (B, 1, 2) or (B, 2).

        Raises ValueError for cells that differ from point to point if the decoder is one that is
        bound to the cell.
        """
        if cell.dim() == 2:
            cell = cell[:, None]
        if self.decoder.has_bind and not field.is_bound:
            if cell.shape[1] > 1 and not bool((cell == cell[:, :1]).all()):
                raise ValueError("this decoder takes one cell for all points of an image: (B, 2)")
            field = self.bind(field, cell[:, 0])
        if field.covered is not None:
            coord = torch.stack([field.coord_to_grid(coord[..., i], i) for i in (0, 1)], dim=-1)
            cell = field.cell_to_grid(cell)
        return self.decoder.query(field, coord, cell) * self.std + self.mean

    def query_grid(self, field: Field, y: Tensor, x: Tensor, cell: Tensor) -> Tensor:
        """As `query` for all points of rows y (R,) and columns x (W,), with one cell (1, 2):
        colours (B, R, W, C)."""
        field = self.bind(field, cell)
        y, x, cell = field.coord_to_grid(y, 0), field.coord_to_grid(x, 1), field.cell_to_grid(cell)
        return self.decoder.query_grid(field, y, x, cell) * self.std + self.mean

    def forward(
        self,
        lr: Tensor,
        coord: Tensor,
        cell: Tensor,
        slopes: bool = False,
        target: Tensor | None = None,
        is_grid: bool = False,
    ) -> Tensor:
        """Encode lr and query coord in one call: colours (B, Q, C). With their slopes along y and x
        (`Decoder.slopes`) they are (B, Q, C, 3), and with the logarithm of the density of true
        colours `target` (`Decoder.log_likelihood`) (B, Q, C + 1). With `is_grid` the points are the
        pixels of a square, row by row, the same for all images."""
        field = self.encode(lr)
        if is_grid:
            side = math.isqrt(coord.shape[1])
            y, x = coord[0, ::side, 0], coord[0, :side, 1]
            rgb = self.query_grid(field, y, x, cell[:1]).flatten(1, 2)
        else:
            rgb = self.query(field, coord, cell)
        if not slopes and target is None:
            return rgb
        at = torch.stack([field.coord_to_grid(coord[..., i], i) for i in (0, 1)], dim=-1)
        if target is None:
            return torch.cat([rgb[..., None], self.decoder.slopes(field, at)], dim=-1)
        cell, target = field.cell_to_grid(cell)[:, None], (target - self.mean) / self.std
        density = self.decoder.log_likelihood(field, at, cell, target)
        return torch.cat([rgb, density[..., None]], dim=-1)

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
        """Return the whole image at any size: (C, h, w) -> (C, H, W), or with a batch in front.
        Raises ValueError if lr is no image or not in [0, 1], or a size, scale, window or memory
        budget is invalid.

        Args:
            lr: float tensor in [0, 1]; or a PIL image, a NumPy array (h, w) or (h, w, C), or an
                integer tensor: the result is of the same kind (images/convert.py).
            size: (H, W) of the result; or
            scale: a factor, or (vertical, horizontal) factors; sizes are rounded.
            window: show this part of the image only; `size` and `scale` are the window's.
            clamp: limit the result to [0, 1].
            precision: "bf16" computes convolutions and matrix products in bfloat16: several times
                as fast on hardware with bfloat16 units, at a loss below 0.01 dB on Set5 and Set14;
                where it is slower, float32 is used, with a warning ("bf16!" insists). "fp16" is
                the same in float16. "tf32" lets NVIDIA GPUs round their inputs to TF32. "auto" is
                the fastest of them on the device.
            memory: approximate budget in bytes; larger images are computed in tiles, with the same
                result up to float rounding. By default half of the free memory of a GPU, and 1 GB
                on a CPU.
            clip_cell: beyond this scale the decoder is given the cell of this scale.
        """
        if not isinstance(lr, Tensor) or not lr.is_floating_point():
            options = {"size": size, "scale": scale, "window": window, "clamp": clamp}
            options |= {"precision": precision, "memory": memory, "clip_cell": clip_cell}
            return apply_to_image(partial(self.upscale, **options), lr, self.channels.input)
        C = self.channels.input
        if lr.dim() not in (3, 4) or lr.shape[-3] != C or 0 in lr.shape:
            raise ValueError(f"lr has shape {tuple(lr.shape)}, not ({C}, h, w) or (B, {C}, h, w)")
        extent = (lr.shape[-2], lr.shape[-1]) if window is None else window[2:]
        size = target_size(extent, size=size, scale=scale)
        batch = lr if lr.dim() == 4 else lr[None]
        out = lr.new_full((len(batch), self.channels.output, *size), torch.nan)
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
        shared: tuple[Tensor, ...] | None = None,
        watch: Watch | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield the image of `upscale`, not clamped, as (first row, (B, C, R, W)) from top to
        bottom: a result larger than memory can be written strip by strip.

        lr is (B, C, h, w) in [0, 1], `size` (H, W) of the result, and `rows` (first, last + 1) the
        rows to compute, by default all; `shared` is the result of `statistics`, which is computed
        if it is not given; `watch` is told of each tile that is encoded and each block that is
        decoded; the other options are those of `upscale`. Raises ValueError for values that are not
        in [0, 1].
        """
        check_range(lr, "lr")
        lr = lr.detach().to(self.mean)
        grid = Grid(size, (lr.shape[2], lr.shape[3]), window)
        rows = rows or (0, size[0])
        used = used_precision(lr.device, precision)
        return render_strips(self, lr, grid, rows, used, memory, clip_cell, shared, watch)

    def statistics(
        self,
        lr: Tensor,
        size: Size,
        *,
        precision: Precision = "float32",
        memory: int | None = None,
        clip_cell: float = math.inf,
        window: Window | None = None,
        step: int = 1,
    ) -> tuple[Tensor, ...]:
        """Return what the colours of a result share (`Decoder.statistics`), for `strips` that are
        computed in several calls or processes: nothing for most decoders.

        With `step`, only every so-many-th row and column of the result is used. A window shows the
        whole image's values: they are those of the whole image at the size of the window's pixels.
        """
        if not self.decoder.has_statistics:
            return ()
        check_range(lr, "lr")
        lr = lr.detach().to(self.mean)
        grid = Grid(size, (lr.shape[2], lr.shape[3]), window)
        used = used_precision(lr.device, precision)
        return whole_statistics(Tiles(self, lr, grid, used, memory, clip_cell), step)

    @torch.no_grad()
    def encoded(
        self,
        lr: Tensor,
        region: Region | None = None,
        size: Size | None = None,
        *,
        precision: Precision = "float32",
    ) -> Field:
        """As `encode`, for rendering one image many times: without gradients, and in one piece,
        however much memory that takes.

        With a `region` of the padded image (`tile_of`), lr holds these pixels only, of an image of
        `size` (h, w). Raises ValueError for values that are not in [0, 1].
        """
        check_range(lr, "lr")
        size = size or (lr.shape[2], lr.shape[3])
        h, w = frame = self.frame(size)
        if region is None:
            region = (0, h), (0, w)
            lr = cut(lr, region)
        device = self.mean.device
        with precision_context(device, used_precision(device, precision)):
            lr = lr.to(self.mean).contiguous(memory_format=torch.channels_last)
            return self.encode_frame(lr).at_origin((region[0][0], region[1][0]), frame, size)

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
        """Return the image of `upscale`, not clamped, from a field of `encoded`: (B, C, H, W), or
        only `rows` of it, as (first, last + 1). A field in bfloat16 is decoded in bfloat16.

        A decoder with statistics takes those of the field, else those of the pixels of each block.
        """
        grid = Grid(size, field.image_size, window)
        rows = rows or (0, size[0])
        channels = self.channels.output
        out = self.mean.new_empty(len(field.codes), channels, rows[1] - rows[0], size[1])
        used = used_precision(out.device, precision)
        with torch.inference_mode(), tf32_context(out.device, used):
            field = self.bind(field, grid.cell(self.mean, clip_cell))
            side = block_side(self.decoder, field)
            render(self, field, out, rows, (0, size[1]), grid, clip_cell, side)
        return out
