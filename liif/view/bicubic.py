"""Bicubic resizing of a window with sub-pixel borders."""

import math

import numpy as np
from PIL import Image

from liif.core.sizes import Size, Window
from liif.images.rgb8 import Pixels


def bicubic(image: Pixels, window: Window, size: Size, rows: Size) -> Pixels:
    """Return rows [first, last) of the window of an image (h, w, 3), resized to `size` (H, W), as
    uint8 (last - first, W, 3).

    The kernel is Pillow's (a = -0.5), which is widened for reduction: it antialiases.
    """
    step = window.height / size[0], window.width / size[1]
    starts = window.top + rows[0] * step[0], window.left
    ends = window.top + rows[1] * step[0], window.left + window.width
    # Only the pixels that the kernel reaches: Pillow computes positions in float32, which is too
    # coarse far from the origin, and converts the whole image that it gets.
    spans: list[Size] = []
    for start, end, pixel, n in zip(starts, ends, step, image.shape[:2], strict=True):
        margin = math.ceil(2 * max(1, pixel)) + 1
        spans.append((max(math.floor(start) - margin, 0), min(math.ceil(end) + margin, n)))
    (top, bottom), (left, right) = spans
    first = max(starts[1] - left, 0), max(starts[0] - top, 0)
    box = (*first, min(ends[1], right) - left, min(ends[0], bottom) - top)
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    return np.asarray(part.resize((size[1], rows[1] - rows[0]), Image.Resampling.BICUBIC, box))
