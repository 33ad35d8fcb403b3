"""Draw the sheet of docs/lite-photo.md: parts of pictures by bicubic, `lite` and `lite-photo`.

python results/lite_photo_sheet.py PICTURES SHEET.webp

PICTURES is a folder that has the files named in PARTS.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

import liif

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
    width, height = (side * SCALE for side in SIZE)
    ways, gap, line, columns = ["bicubic", *models], 4, 22, 2
    row, block = height + line + gap, len(ways) * (width + gap) + 4 * gap
    rows = -(-len(PARTS) // columns)
    sheet = Image.new("RGB", (columns * block - 4 * gap, rows * row), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for i, (file, (left, top)) in enumerate(PARTS.items()):
        picture = ImageOps.exif_transpose(Image.open(options.pictures / file)).convert("RGB")
        box = (left - MARGIN, top - MARGIN, left + SIZE[0] + MARGIN, top + SIZE[1] + MARGIN)
        part = picture.crop(box)
        x, y = i % columns * block, i // columns * row
        for way in ways:
            size = (part.width * SCALE, part.height * SCALE)
            large = part.resize(size, Image.Resampling.BICUBIC)
            if way in models:
                large = models[way].upscale(part, scale=SCALE)
            inner = MARGIN * SCALE
            shown = large.crop((inner, inner, inner + width, inner + height))
            draw.text((x, y), f"{file.split('-')[0]}, {way}", fill="black", font=font)
            sheet.paste(shown, (x, y + line))
            x += width + gap
    sheet.save(options.sheet, quality=85)


if __name__ == "__main__":
    main()
