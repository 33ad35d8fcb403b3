"""Enlarge a photograph, or a part of it, to any size, strip by strip.

An axis along which the result has no more pixels than the part of the photograph that it shows is
reduced by Pillow's antialiased bicubic instead of the model: sampling a continuous image more
coarsely than its source causes aliasing, and no model here is trained below a scale of 1. The axes
are independent: for half the height and three times the width, bicubic reduces the height, then the
model enlarges the width. At a scale of exactly 1 the photograph is unchanged.

Letters: h w the photograph, H W the result, R rows of a strip.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from liif.core.distributed import ALONE, Team
from liif.core.sizes import OutputSpec, Size, Window
from liif.images.formats import Layout
from liif.images.photo import Photo
from liif.images.png import ImageArray
from liif.inference.predict import DEFAULT_OPTIONS, InferenceOptions, predict_strips
from liif.models.model import SRModel
from liif.models.tiling import Watch

_CHUNK = 2**22
"""Values that are quantised at a time."""


def enlarge_photo(
    model: SRModel,
    photo: Photo,
    spec: OutputSpec,
    layout: Layout,
    options: InferenceOptions = DEFAULT_OPTIONS,
    team: Team = ALONE,
    watch: Watch | None = None,
) -> Iterator[ImageArray]:
    """Yield strips (R, W, channels) of the enlarged photograph from top to bottom.

    Colour is enlarged premultiplied by alpha, so that invisible colours do not bleed into edges.
    Alpha is enlarged by the same model as a grayscale image and limited to the range of the 3×3
    alpha values around, so that opaque and transparent areas stay so. For a layout without alpha
    the photograph is first composited on white.

    The photograph has 8 or 16 bits; the strips have the layout's channels and bits, and only the
    leading process of the team receives them. Raises UserError if the photograph has no such part,
    or if the options do not support parts. `watch` is told of this process's work as it is done.
    """
    size, window = spec.target(photo.size), spec.window(photo.size)
    has_alpha = layout.has_alpha
    largest = np.float32(np.iinfo(photo.colour.dtype).max)
    samples = photo.colour.astype(np.float32) / largest
    colour, alpha = torch.from_numpy(samples).permute(2, 0, 1).contiguous(), None
    if photo.alpha is not None:
        alpha = torch.from_numpy(photo.alpha.astype(np.float32) / largest)[None]
        colour = colour * alpha
        if not has_alpha:
            colour, alpha = colour + (1 - alpha), None
    strips = _strips(model, colour, size, window, options, team, watch)
    if alpha is None:
        for strip in strips:
            opaque = torch.ones(strip.shape[1:]) if has_alpha else None
            yield from _quantised(strip, opaque, layout)
        return
    if not team.leads:
        list(strips)
        return
    # The leading process enlarges alpha alone: received strips do not say which image they are of.
    row = 0
    step = max(1, _CHUNK // (len(colour) * size[1]))
    alpha_strips = _strips(model, alpha, size, window, options, ALONE, watch)
    for strip, alpha_strip in _aligned(strips, alpha_strips, step):
        rows = row, row + strip.shape[1]
        least, most = _neighbour_range(alpha[0], size, window, rows)
        bounded = alpha_strip.mean(0).clamp(0, 1).maximum(least).minimum(most)
        yield from _quantised(strip, bounded, layout)
        row = rows[1]


def _strips(
    model: SRModel, image: Tensor, size: Size, window: Window, options: InferenceOptions,
    team: Team, watch: Watch | None,
) -> Iterator[Tensor]:  # fmt: skip
    """Yield strips (C', R, W) of the enlarged image (C, h, w), on the CPU, not clamped. A model of
    several channels enlarges a single one as gray."""
    reduced, window = _reduced(image, size, window)
    channels = model.channels
    if size == tuple(reduced.shape[1:]) and channels.input == channels.output:
        if team.leads:
            yield reduced
        return
    lr = reduced.expand(channels.input, -1, -1).to(model.mean)
    is_gray = len(image) == 1 < channels.input
    part = None if window == (0, 0, *reduced.shape[1:]) else window
    for strip in predict_strips(model, lr, size, options, part, team, watch):
        yield (strip.mean(0, keepdim=True) if is_gray else strip).cpu()


def _reduced(image: Tensor, size: Size, window: Window) -> tuple[Tensor, Window]:
    """Crop the image to the window and reduce it to the size, along each axis that does not grow;
    return it with the window's position in it."""
    h, w = image.shape[1:]
    box, target, left = [0.0, 0.0, float(w), float(h)], [h, w], list(window)
    for axis in (0, 1):
        if size[axis] <= window[2 + axis]:
            box[1 - axis], box[3 - axis] = window[axis], window[axis] + window[2 + axis]
            target[axis], left[axis], left[2 + axis] = size[axis], 0, size[axis]
    if target == [h, w] and box == [0, 0, w, h]:
        return image, window
    channels = [
        Image.fromarray(channel.numpy()).resize(
            (target[1], target[0]), Image.Resampling.BICUBIC, (box[0], box[1], box[2], box[3])
        )
        for channel in image
    ]
    return torch.from_numpy(np.stack([np.asarray(c) for c in channels])), Window(*left)


def _aligned(
    a: Iterator[Tensor], b: Iterator[Tensor], step: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut the strips of two images into pairs of the same height, at most `step` rows."""
    held = next(b)
    for strip in a:
        while strip.shape[1]:
            if not held.shape[1]:
                held = next(b)
            rows = min(strip.shape[1], held.shape[1], step)
            yield strip[:, :rows], held[:, :rows]
            strip, held = strip[:, rows:], held[:, rows:]


def _neighbour_range(
    alpha: Tensor, size: Size, window: Window, rows: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return the least and the greatest of the 3×3 values of alpha (h, w) around each pixel of
    some rows of the result, both (R, W)."""

    def along(axis: int, first: int, last: int) -> tuple[Tensor, int]:
        """Return the pixels of alpha at some pixels of the result, and how far those reach."""
        length, n = window[2 + axis], size[axis]
        centres = (torch.arange(first, last, dtype=torch.float64) + 0.5) * (length / n)
        # Bicubic that reduces by a factor f uses pixels up to 2f away.
        reach = 1 if n > length else math.ceil(2 * length / n)
        return (centres + window[axis]).long().clamp(0, alpha.shape[axis] - 1), reach

    (row, y), (col, x) = along(0, *rows), along(1, 0, size[1])
    first = max(int(row[0]) - y, 0)
    part = alpha[first : int(row[-1]) + 1 + y]

    def greatest(values: Tensor) -> Tensor:
        padded = F.pad(values[None, None], (x, x, y, y), mode="replicate")
        pooled = F.max_pool2d(padded, (2 * y + 1, 2 * x + 1), stride=1)[0, 0]
        return pooled[row - first][:, col]

    return -greatest(-part), greatest(part)


def _quantised(strip: Tensor, alpha: Tensor | None, layout: Layout) -> Iterator[ImageArray]:
    """Yield a strip (C, R, W), premultiplied by alpha (R, W) if that is given, as integers."""
    largest = 2**layout.bits - 1
    step = max(1, _CHUNK // (strip.shape[2] * len(strip)))
    for start in range(0, strip.shape[1], step):
        piece = strip[:, start : start + step].clamp(0, 1)
        if alpha is not None:
            part = alpha[start : start + step]
            straight = (piece / part.clamp(min=1e-6)).clamp(0, 1)
            piece = torch.cat([straight * (part > 0), part[None]])
        whole = (piece * largest).round().permute(1, 2, 0).contiguous().numpy()
        yield whole.astype(np.uint8 if layout.bits == 8 else np.uint16)
