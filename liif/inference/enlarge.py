"""A photograph at any size: which part, how large, and its pixels strip by strip.

Where a side of the result has no more pixels than the part of the photograph that it shows, that
axis is reduced by Pillow's antialiased bicubic, and the model does not touch it: a continuous image
sampled more coarsely than its source would alias, and no model here is trained below a scale of 1.
Each axis on its own: half the height at three times the width is bicubic downwards, then the model
across. At a scale of exactly 1 the whole photograph comes out as it is.

Letters: h w the photograph, H W the result.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from liif.core.distributed import ALONE, Team
from liif.core.sizes import OutputSpec, Size, Window
from liif.images.formats import Layout
from liif.images.photo import Photo
from liif.images.png import Samples
from liif.inference.predict import DEFAULT_OPTIONS, InferenceOptions, predict_strips_distributed
from liif.models.model import SRModel

_PIECE = 2**22
"""Values quantised at a time."""


def enlarged(
    model: SRModel,
    photo: Photo,
    asked: OutputSpec,
    layout: Layout,
    options: InferenceOptions = DEFAULT_OPTIONS,
    team: Team = ALONE,
) -> Iterator[Samples]:
    """Strips (rows, W, channels) of the result, from top to bottom, as `layout` has it; made by all
    processes of the team, given to the one that leads.

    Colour is enlarged multiplied by alpha, so that what cannot be seen does not show at the edges;
    alpha is enlarged by the same model as a gray picture, and kept between the least and the
    greatest alpha of the 3×3 photograph's pixels around: what is opaque or transparent stays so.
    For a layout without alpha the photograph is put on white first.
    """
    size, window = asked.target(photo.size), asked.window(photo.size)
    colour, alpha = _tensors(photo)
    colour = colour if alpha is None else colour * alpha
    has_alpha = layout.channels in (2, 4)
    if alpha is not None and not has_alpha:
        colour, alpha = colour + (1 - alpha), None
    made = _strips(model, colour, size, window, options, team)
    if alpha is None:
        for strip in made:
            opaque = torch.ones(strip.shape[1:]) if has_alpha else None
            yield from _quantised(strip, opaque, layout)
        return
    if not team.leads:
        list(made)
        return
    # Alpha is the leader's own work: strips of two pictures in turn could not be told apart.
    row = 0
    step = max(1, _PIECE // (3 * size[1]))
    alphas = _strips(model, alpha, size, window, options, ALONE)
    for strip, transparency in _in_step(made, alphas, step):
        rows = row, row + strip.shape[1]
        least, most = _around(alpha[0], size, window, rows)
        bounded = transparency.mean(0).clamp(0, 1).maximum(least).minimum(most)
        yield from _quantised(strip, bounded, layout)
        row = rows[1]


def _tensors(photo: Photo) -> tuple[Tensor, Tensor | None]:
    """Colour (1 or 3, h, w) and alpha (1, h, w), float32 in [0, 1]."""
    largest = np.iinfo(photo.colour.dtype).max

    def tensor(samples: Samples) -> Tensor:
        return torch.from_numpy(samples.astype(np.float32) / np.float32(largest))

    colour = tensor(photo.colour).permute(2, 0, 1).contiguous()
    return colour, None if photo.alpha is None else tensor(photo.alpha)[None]


def _strips(
    model: SRModel,
    picture: Tensor,
    size: Size,
    window: Window,
    options: InferenceOptions,
    team: Team,
) -> Iterator[Tensor]:
    """Of picture (1 or 3, h, w) in [0, 1]: (1 or 3, rows, W) on the CPU, not clamped."""
    reduced, window = _reduced(picture, size, window)
    if size == tuple(reduced.shape[1:]):
        if team.leads:
            yield reduced
        return
    lr = reduced.expand(3, -1, -1).to(model.mean)
    is_whole = window == (0, 0, *reduced.shape[1:])
    for strip in predict_strips_distributed(
        team, model, lr, size, options, None if is_whole else window
    ):
        yield strip.cpu() if len(picture) == 3 else strip.mean(0, keepdim=True).cpu()


def _reduced(picture: Tensor, size: Size, window: Window) -> tuple[Tensor, Window]:
    """The picture, reduced to the window and the size along each axis that is not to grow, and
    where the window is in it."""
    h, w = picture.shape[1:]
    box, target, left = [0.0, 0.0, float(w), float(h)], [h, w], list(window)
    for axis in (0, 1):
        if size[axis] <= window[2 + axis]:
            box[1 - axis], box[3 - axis] = window[axis], window[axis] + window[2 + axis]
            target[axis], left[axis], left[2 + axis] = size[axis], 0, size[axis]
    if target == [h, w] and box == [0, 0, w, h]:
        return picture, window
    channels = [
        Image.fromarray(channel.numpy()).resize(
            (target[1], target[0]), Image.Resampling.BICUBIC, (box[0], box[1], box[2], box[3])
        )
        for channel in picture
    ]
    return torch.from_numpy(np.stack([np.asarray(c) for c in channels])), Window(*left)


def _in_step(
    a: Iterator[Tensor], b: Iterator[Tensor], step: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Two pictures in strips of different heights, as strips of the same, `step` rows at most."""
    held = next(b)
    for strip in a:
        while strip.shape[1]:
            if not held.shape[1]:
                held = next(b)
            rows = min(strip.shape[1], held.shape[1], step)
            yield strip[:, :rows], held[:, :rows]
            strip, held = strip[:, rows:], held[:, rows:]


def _around(
    alpha: Tensor, size: Size, window: Window, rows: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The least and the greatest of the 3×3 values of alpha (h, w) around each pixel of some rows
    of the result, two (rows, W)."""
    y, x = (
        (torch.arange(*span, dtype=torch.float64) + 0.5) * (length / n) + start
        for span, length, n, start in zip(
            (rows, (0, size[1])), window[2:], size, window[:2], strict=True
        )
    )
    # Bicubic that reduces by f makes a pixel of those up to 2f away.
    reach = [
        1 if n > length else math.ceil(2 * length / n)
        for length, n in zip(window[2:], size, strict=True)
    ]
    row, col = (i.long().clamp(0, n - 1) for i, n in zip((y, x), alpha.shape, strict=True))
    top, bottom = int(row[0]), int(row[-1]) + 1
    first = max(top - reach[0], 0)
    part = alpha[first : bottom + reach[0]]
    pad = (reach[1], reach[1], reach[0], reach[0])
    kernel = (2 * reach[0] + 1, 2 * reach[1] + 1)

    def greatest(values: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(values[None, None], pad, mode="replicate")
        pooled = torch.nn.functional.max_pool2d(padded, kernel, stride=1)[0, 0]
        return pooled[row - first][:, col]

    return -greatest(-part), greatest(part)


def _quantised(strip: Tensor, alpha: Tensor | None, layout: Layout) -> Iterator[Samples]:
    """Strip (1 or 3, rows, W), multiplied by alpha (rows, W) if that is given, as samples."""
    largest = 2**layout.bits - 1
    step = max(1, _PIECE // (strip.shape[2] * len(strip)))
    for start in range(0, strip.shape[1], step):
        piece = strip[:, start : start + step].clamp(0, 1)
        if alpha is not None:
            part = alpha[start : start + step]
            straight = (piece / part.clamp(min=1e-6)).clamp(0, 1)
            piece = torch.cat([straight * (part > 0), part[None]])
        whole = (piece * largest).round().permute(1, 2, 0).contiguous().numpy()
        yield whole.astype(np.uint8 if layout.bits == 8 else np.uint16)
