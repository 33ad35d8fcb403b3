"""What travels with the pixels through `liif upscale`: the table of docs/upscale.md, and losses."""

import re
from pathlib import Path

import pytest
from helpers.carried import found_in, write_everything
from helpers.paths import ROOT
from PIL import Image

from liif.images.suffixes import HAS_AVIF

FORMATS = {
    "PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "WebP": ".webp", "AVIF": ".avif", "GIF": ".gif",
    "BMP": ".bmp", "PPM": ".ppm",
}  # fmt: skip
PROPERTIES = {
    "resolution": "resolution", "ICC profile": "ICC profile", "EXIF": "EXIF", "XMP": "XMP",
    "IPTC": "IPTC", "comment": "omment", "PNG text": "text Title", "gAMA": "gAMA", "cHRM": "cHRM",
    "sRGB": "sRGB", "cICP": "cICP", "GeoTIFF, GDAL": "TIFF tags 33550, 42113",
}  # fmt: skip
"""Rows of the table, and how a loss is named."""
TABLE = re.compile(r"(?<=<!-- metadata -->\n).*?(?=<!-- end -->)", re.DOTALL)


@pytest.fixture
def up(cli, tiny_checkpoint, folder):
    """`liif upscale` in an empty folder; gives the line on what is not kept of each result."""

    def run(*options):
        exact = ("--checkpoint", tiny_checkpoint, "--precision", "float32")
        status, _, err = cli("upscale", *options, *exact)
        assert status == 0, err
        lines = re.findall(r"(\S+): not kept: (.*)", err)
        assert len(dict(lines)) == len(lines)  # one line for each result
        return dict(lines)

    return run


@pytest.mark.skipif(not HAS_AVIF, reason="Pillow without AVIF")
def test_the_table_of_the_documentation(up):
    """Each format with all that it can carry, to each format; what is lost is named."""
    sources = [write_everything(Path(f"{suffix[1:]}{suffix}")) for suffix in FORMATS.values()]
    held = {path: found_in(path) for path in sources}
    cells: dict[tuple[str, str], set[bool]] = {}
    for form, suffix in FORMATS.items():
        lost = up(*sources, "--scale", "2", "-o", f"out/{{stem}}{suffix}")
        for path in sources:
            result = Path(f"out/{path.stem}{suffix}")
            there = found_in(result)
            for name in held[path]:
                cells.setdefault((name, form), set()).add(name in there)
                is_named = PROPERTIES[name] in lost.get(str(result), "")
                assert is_named == (name not in there), (name, str(result), lost)
    assert all(len(found) == 1 for found in cells.values()), cells
    rows = [f"| | {' | '.join(FORMATS)} |", "|---" * (len(FORMATS) + 1) + "|"]
    for name in PROPERTIES:
        marks = ["✓" if cells[name, form] == {True} else "–" for form in FORMATS]
        rows.append(f"| {name} | {' | '.join(marks)} |")
    documented = TABLE.search((ROOT / "docs" / "upscale.md").read_text(encoding="utf-8"))
    assert documented is not None and documented[0].split("\n") == [*rows, ""], "\n".join(rows)


def test_lost_transparency_is_said(folder, cli, caplog):
    Image.new("RGBA", (6, 5), (200, 100, 50, 99)).save("a.png")
    for name, is_said in (("b.bmp", True), ("c.jpg", True), ("d.png", False), ("e.webp", False)):
        caplog.clear()
        status, _, _ = cli("upscale", "a.png", "-s", "2", "-o", name, "--checkpoint", "edsr-light")
        assert status == 0
        assert ("transparency (on white)" in caplog.text) == is_said, name
