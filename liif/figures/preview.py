"""A sheet of training samples: the low-resolution patch beside the high-resolution crop."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TILE_PX = 240
"""Side of both pictures of a sample."""
COLUMNS = 3
MARGIN_PX = 14
FONT_PX = 14
LINE_PX = 18
LINE_CHARACTERS = 74


class SampleTile(NamedTuple):
    """One sample on the sheet."""

    lr: np.ndarray
    """(h, w, C) of any dtype of training images, as is `hr`, (H, W, C)."""
    hr: np.ndarray
    caption: Sequence[str]
    """Lines, which are wrapped."""


def sample_sheet(samples: Sequence[SampleTile]) -> np.ndarray:
    """Return a sheet, uint8 (H, W, 3). Low-resolution pixels are enlarged as squares."""
    lines = [
        [part for line in sample.caption for part in textwrap.wrap(line, LINE_CHARACTERS)]
        for sample in samples
    ]
    width = 2 * TILE_PX + 2 + MARGIN_PX
    height = TILE_PX + LINE_PX * max(map(len, lines)) + 2 * MARGIN_PX
    columns = min(COLUMNS, len(samples))
    rows = -(-len(samples) // columns)
    size = columns * width + MARGIN_PX, rows * height + MARGIN_PX
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=FONT_PX)
    for i, (sample, caption) in enumerate(zip(samples, lines, strict=True)):
        x, y = MARGIN_PX + i % columns * width, MARGIN_PX + i // columns * height
        canvas.paste(_tile(sample.lr), (x, y))
        canvas.paste(_tile(sample.hr), (x + TILE_PX + 2, y))
        for k, line in enumerate(caption):
            draw.text((x, y + TILE_PX + 4 + k * LINE_PX), line, fill="#222222", font=font)
    return np.asarray(canvas)


def _tile(image: np.ndarray) -> Image.Image:
    picture = Image.fromarray(_displayed(image))
    larger = max(picture.size) > TILE_PX
    picture.thumbnail((TILE_PX, TILE_PX))
    resampling = Image.Resampling.LANCZOS if larger else Image.Resampling.NEAREST
    side = TILE_PX / max(picture.size)
    return picture.resize([max(1, round(side * n)) for n in picture.size], resampling)


def _displayed(image: np.ndarray) -> np.ndarray:
    """Return pixels of any dtype and number of channels as uint8 (H, W, 3): the first three
    channels, or the first one as gray."""
    if image.dtype == np.float32:
        image = np.rint(image.clip(0, 1) * 255)
    elif image.dtype == np.uint16:
        image = image >> 8
    channels = [0, 1, 2] if image.shape[2] >= 3 else [0, 0, 0]
    return np.ascontiguousarray(image[..., channels].astype(np.uint8))
