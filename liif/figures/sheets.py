"""Draw labelled images side by side on one sheet, and write sheets."""

import base64
import io
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from liif.core.errors import UserError
from liif.core.files import write_atomically
from liif.core.sizes import Box
from liif.images.rgb8 import WRITERS, write_image

LABEL_PX = 26
FONT_PX = 17
MARGIN_PX = 12
OVERVIEW_PX = 840
"""Largest height of the overview."""
DPI = 150
"""Of a sheet in a PDF file."""
CENTRE_PX = 256
"""Side of the tiles of `centre_crops`."""

# Colours of Okabe and Ito that are visible on photographs. All people can tell them apart.
FRAMES = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#F0E442")


class Tile(NamedTuple):
    """A labelled image, uint8 (H, W, 3)."""

    image: np.ndarray
    label: str


def method_tiles(
    lr: np.ndarray,
    sr: np.ndarray,
    hr: np.ndarray,
    enlarged: np.ndarray,
    *,
    title: str,
    psnr: float,
    bicubic: float,
) -> list[Tile]:
    """Return LR (nearest neighbour), its bicubic enlargement, model output and HR, all of the size
    of `hr`. The labels show `psnr` and `bicubic`, the scores of the whole images in dB."""
    H, W = hr.shape[:2]
    nearest = np.asarray(Image.fromarray(lr).resize((W, H), Image.Resampling.NEAREST))
    return [
        Tile(nearest, f"LR {title}"),
        Tile(enlarged, f"bicubic {bicubic:.2f} dB"),
        Tile(sr, f"ours {psnr:.2f} dB ({psnr - bicubic:+.2f})"),
        Tile(hr, "HR"),
    ]


def centre_crops(tiles: Sequence[Tile], *, scale: float) -> list[Tile]:
    """Return the centre of every tile, at most CENTRE_PX wide and high. Below scale 4, where
    differences are fine, half of that is shown with its pixels doubled."""
    zoom = 2 if scale < 4 else 1
    side = CENTRE_PX // zoom
    cropped: list[Tile] = []
    for image, label in tiles:
        h, w = image.shape[:2]
        top, left = max(0, h - side) // 2, max(0, w - side) // 2
        centre = image[top : top + side, left : left + side]
        cropped.append(Tile(centre.repeat(zoom, axis=0).repeat(zoom, axis=1), label))
    return cropped


def sheet(
    rows: Sequence[Sequence[Tile]], overview: np.ndarray | None = None, boxes: Sequence[Box] = ()
) -> np.ndarray:
    """Return a sheet, uint8 (H, W, 3), with rows of tiles on white, each below its label.

    An overview, uint8 (h, w, 3), is drawn above the rows. It shows one box for each row, and a row
    is framed in the colour of its box.
    """
    width = max(sum(tile.image.shape[1] + MARGIN_PX for tile in row) for row in rows) - MARGIN_PX
    heights = [max(tile.image.shape[0] for tile in row) + LABEL_PX + MARGIN_PX for row in rows]
    header = None if overview is None else _overview(overview, boxes, width)
    y = MARGIN_PX if header is None else header.height + 2 * MARGIN_PX
    canvas = Image.new("RGB", (width + 2 * MARGIN_PX, y + sum(heights)), "white")
    if header is not None:
        canvas.paste(header, ((canvas.width - header.width) // 2, MARGIN_PX))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=FONT_PX)
    for row, height, colour in zip(rows, heights, cycle(FRAMES), strict=False):
        x = MARGIN_PX
        for image, label in row:
            h, w = image.shape[:2]
            draw.text((x + 2, y), label, fill="#222222", font=font)
            canvas.paste(Image.fromarray(image), (x, y + LABEL_PX))
            if boxes:
                frame = (x, y + LABEL_PX, x + w - 1, y + LABEL_PX + h - 1)
                draw.rectangle(frame, None, colour, 3)
            x += w + MARGIN_PX
        y += height
    return np.asarray(canvas)


def _overview(image: np.ndarray, boxes: Sequence[Box], width: int) -> Image.Image:
    """Return the image with its boxes drawn in, `width` wide or OVERVIEW_PX high."""
    h, w = image.shape[:2]
    factor = min(width / w, OVERVIEW_PX / h)
    size = max(1, round(w * factor)), max(1, round(h * factor))
    picture = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    for (x, y, w, h), colour in zip(boxes, cycle(FRAMES), strict=False):
        left, top, right, bottom = (factor * n for n in (x, y, x + w, y + h))
        draw.rectangle((left, top, right, bottom), outline="black", width=5)
        draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=3)
    return picture


def check_sheet(path: Path) -> None:
    """Raise UserError if the suffix of a file selects no format that a sheet is written in."""
    if path.suffix.lower() not in (*WRITERS, ".svg", ".pdf"):
        known = " ".join((*WRITERS, ".svg", ".pdf"))
        raise UserError(f"{path}: cannot write this format; use one of {known}")


def write_sheet(path: Path, image: np.ndarray) -> None:
    """Write a sheet, uint8 (H, W, 3), atomically. The suffix selects the format; .svg holds it as
    PNG, .pdf as JPEG of quality 95, 4:4:4. Raises UserError if it cannot be written."""
    check_sheet(path)
    content = io.BytesIO()
    if path.suffix.lower() == ".svg":
        Image.fromarray(image).save(content, "PNG")
        H, W = image.shape[:2]
        data = base64.b64encode(content.getvalue()).decode()
        text = f'<svg xmlns="http://www.w3.org/2000/svg" width="{W}" height="{H}">'
        text += f'<image width="{W}" height="{H}" href="data:image/png;base64,{data}"/></svg>\n'
        write_atomically(path, text.encode())
    elif path.suffix.lower() == ".pdf":
        options = {"resolution": DPI, "quality": 95, "subsampling": 0}
        Image.fromarray(image).save(content, "PDF", creationDate=None, modDate=None, **options)
        write_atomically(path, content.getvalue())
    else:
        write_image(path, image)
