"""Pictures to look at: the same scene by several methods, side by side and labelled."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from liif.images.resize import matlab_bicubic

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


# Okabe and Ito's colours, told apart by all kinds of colour vision; those that show on photographs.
FRAMES = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#F0E442")
MARGIN_PX = 12
TITLE_PX = 26
OVERVIEW_PX = 840


def framed_sheet(
    image: np.ndarray, boxes: Sequence[tuple[int, int, int, int]], rows: Sequence[Sequence[Tile]],
    *, width: int,
) -> np.ndarray:  # fmt: skip
    """An image (h, w, 3) with boxes (x, y, w, h) drawn in, and below it a row of tiles for each
    box, `width` wide, in a frame of the same colour; uint8 (H, W, 3), white around."""
    total = len(rows[0]) * (width + MARGIN_PX) - MARGIN_PX
    shown = Image.fromarray(image)
    factor = min(total / shown.width, OVERVIEW_PX / shown.height)
    shown = shown.resize(
        (max(1, round(shown.width * factor)), max(1, round(shown.height * factor))),
        Image.Resampling.LANCZOS,
    )
    draw = ImageDraw.Draw(shown)
    for (x, y, w, h), colour in zip(boxes, FRAMES * len(boxes), strict=False):
        corners = [x * factor, y * factor, (x + w) * factor, (y + h) * factor]
        draw.rectangle(corners, outline="black", width=5)
        draw.rectangle(
            [c + d for c, d in zip(corners, (1, 1, -1, -1), strict=True)], None, colour, 3
        )
    scaled = [[_scaled(tile.image, width) for tile in row] for row in rows]
    heights = [TITLE_PX + max(tile.height for tile in row) + MARGIN_PX for row in scaled]
    canvas = Image.new(
        "RGB", (total + 2 * MARGIN_PX, shown.height + sum(heights) + 2 * MARGIN_PX), "white"
    )
    canvas.paste(shown, ((canvas.width - shown.width) // 2, MARGIN_PX))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=17)
    y = 2 * MARGIN_PX + shown.height
    for row, tiles, colour, height in zip(rows, scaled, FRAMES * len(rows), heights, strict=False):
        for i, (tile, picture) in enumerate(zip(row, tiles, strict=True)):
            x = MARGIN_PX + i * (width + MARGIN_PX)
            draw.text((x + 2, y), tile.label, fill="#222222", font=font)
            canvas.paste(picture, (x, y + TITLE_PX))
            box = (x, y + TITLE_PX, x + picture.width - 1, y + TITLE_PX + picture.height - 1)
            draw.rectangle(box, None, colour, 3)
        y += height
    return np.asarray(canvas)


def _scaled(image: np.ndarray, width: int) -> Image.Image:
    """To a width: small ones by repeating pixels, large ones with antialiasing."""
    picture = Image.fromarray(image)
    how = Image.Resampling.NEAREST if picture.width < width else Image.Resampling.LANCZOS
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), how)
