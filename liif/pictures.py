"""Pictures to look at: the same scene by several methods, side by side and labelled."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from liif.data.resize import matlab_bicubic

LABEL_PX = 20
GAP_PX = 4
SIDE_PX = 256


class Tile(NamedTuple):
    """One labelled picture, uint8 (H, W, 3)."""

    image: np.ndarray
    label: str


def methods(
    lr: np.ndarray, sr: np.ndarray, hr: np.ndarray, *, title: str, psnr: float, bicubic: float
) -> list[Tile]:
    """LR (nearest pixels) | bicubic | ours | HR, all of the size of hr; scores of the whole picture
    in dB."""
    H, W = hr.shape[:2]
    nearest = np.asarray(Image.fromarray(lr).resize((W, H), Image.Resampling.NEAREST))
    return [
        Tile(nearest, f"LR {title}"),
        Tile(matlab_bicubic(lr, (H, W)), f"bicubic {bicubic:.2f} dB"),
        Tile(sr, f"ours {psnr:.2f} dB ({psnr - bicubic:+.2f})"),
        Tile(hr, "HR"),
    ]


def window(tiles: Sequence[Tile], *, scale: float) -> list[Tile]:
    """The middle of every tile, shown at SIDE_PX: at small scales, where differences are fine, a
    smaller part with its pixels doubled."""
    zoom = 2 if scale < 4 else 1
    side = SIDE_PX // zoom
    cropped: list[Tile] = []
    for image, label in tiles:
        h, w = image.shape[:2]
        top, left = max(0, h - side) // 2, max(0, w - side) // 2
        part = image[top : top + side, left : left + side]
        cropped.append(Tile(part.repeat(zoom, axis=0).repeat(zoom, axis=1), label))
    return cropped


def sheet(rows: Sequence[Sequence[Tile]]) -> np.ndarray:
    """Tiles on a white sheet, row by row, each under its label; uint8 (H, W, 3)."""
    heights = [max(tile.image.shape[0] for tile in row) + LABEL_PX + GAP_PX for row in rows]
    width = max(sum(tile.image.shape[1] + GAP_PX for tile in row) for row in rows)
    canvas = Image.new("RGB", (width, sum(heights)), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=13)
    y = 0
    for row, height in zip(rows, heights, strict=True):
        x = 0
        for image, label in row:
            draw.text((x + 2, y + 2), label, fill="black", font=font)
            canvas.paste(Image.fromarray(image), (x, y + LABEL_PX))
            x += image.shape[1] + GAP_PX
        y += height
    return np.asarray(canvas)
