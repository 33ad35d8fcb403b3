"""Draw the sheet of docs/lite-photo.md: parts of pictures by bicubic, `lite` and `lite-photo`.

python results/lite_photo_sheet.py PICTURES SHEET.webp

PICTURES is a folder that has the files named in PARTS.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import liif
from liif.figures.sheets import Tile, sheet

SCALE, SIZE, MARGIN = 4, (96, 72), 16
"""Enlargement, size of a part in pixels, and pixels around it that are enlarged and not shown."""
PARTS = {
    "01-china-pagoda.jpg": (140, 40),
    "02-dahlia.jpg": (255, 165),
    "03-rocket-night.jpg": (270, 110),
    "06-trailcam-snow.jpg": (560, 430),
    "07-street-lamp.jpg": (640, 860),
    "08-wisteria-iphone6.jpg": (1060, 740),
    "09-harbour-nokia.jpg": (3330, 1040),
    "10-bakery.jpg": (940, 500),
    "11-jockey.jpg": (230, 50),
    "12-pen-on-paper.jpg": (800, 790),
    "13-candles.jpg": (520, 330),
    "14-flower-market.jpg": (300, 520),
    "16-storm-city.jpg": (620, 690),
    "17-waiting-room.jpg": (1310, 280),
    "18-storefront-dusk.jpg": (70, 260),
    "22-street-shop-sign.jpg": (600, 80),
    "23-dragonfly.jpg": (470, 290),
    "24-bee.jpg": (330, 290),
    "25-bunker.jpg": (1050, 600),
    "27-car-night.jpg": (270, 410),
}
"""Left upper corner of each part."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("sheet", type=Path)
    options = parser.parse_args()
    models = {name: liif.load(name, device="cpu") for name in ("lite", "lite-photo")}
    tiles: list[Tile] = []
    for file, (left, top) in PARTS.items():
        picture = ImageOps.exif_transpose(Image.open(options.pictures / file)).convert("RGB")
        width, height = SIZE
        box = left - MARGIN, top - MARGIN, left + width + MARGIN, top + height + MARGIN
        part = picture.crop(box)
        size = part.width * SCALE, part.height * SCALE
        enlarged = {"bicubic": part.resize(size, Image.Resampling.BICUBIC)}
        enlarged |= {name: model.upscale(part, scale=SCALE) for name, model in models.items()}
        for way, large in enlarged.items():
            shown = np.asarray(ImageOps.crop(large, MARGIN * SCALE))
            tiles.append(Tile(shown, f"{file[:2]}, {way}"))
    across = 2 * (1 + len(models))
    rows = [tiles[i : i + across] for i in range(0, len(tiles), across)]
    Image.fromarray(sheet(rows)).save(options.sheet, quality=85)


if __name__ == "__main__":
    main()
