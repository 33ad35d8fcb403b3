"""Pictures to look at: the same scene by several methods, side by side and labelled."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from liif.data.resize import matlab_bicubic

LABEL_PX = 20
GAP_PX = 4


class Tile(NamedTuple):
    """One labelled picture, uint8 (H, W, 3)."""

    image: np.ndarray
    label: str


def methods(
    lr: np.ndarray, sr: np.ndarray, hr: np.ndarray, *, title: str, psnr: float, bicubic: float
) -> list[Tile]:
    """LR (nearest pixels) | bicubic | ours | HR, all of the size of hr; scores in dB."""
    H, W = hr.shape[:2]
    nearest = np.asarray(Image.fromarray(lr).resize((W, H), Image.Resampling.NEAREST))
    return [
        Tile(nearest, f"LR {title}"),
        Tile(matlab_bicubic(lr, (H, W)), f"bicubic {bicubic:.2f} dB"),
        Tile(sr, f"LIIF {psnr:.2f} dB"),
        Tile(hr, "HR"),
    ]


def window(tiles: Sequence[Tile], side: int) -> list[Tile]:
    """The middle of every tile, at most side × side px."""
    cropped: list[Tile] = []
    for image, label in tiles:
        h, w = image.shape[:2]
        top, left = max(0, h - side) // 2, max(0, w - side) // 2
        cropped.append(Tile(image[top : top + side, left : left + side], label))
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
