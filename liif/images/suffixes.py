"""The suffixes of image files, and how Pillow writes each format.

This file imports no image library, so that a command can list the formats in its help.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import PurePath
from typing import Any

Writer = tuple[str, Mapping[str, Any]]
"""Pillow's name of a format, and its options."""

HAS_AVIF = find_spec("PIL._avif") is not None
"""Pillow is built with or without AVIF."""

PLUGINS = {"pillow_heif": ("HEIF", (".heic", ".heif", ".hif")), "pillow_jxl": ("JXL", (".jxl",))}
"""Packages of liif[formats]: Pillow's name of the format that each reads, and its suffixes."""

SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".ico"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".pfm", ".tga", ".jp2", ".j2k"),
    *((".avif",) if HAS_AVIF else ()),
    *(end for package, (_, ends) in PLUGINS.items() if find_spec(package) for end in ends),
)
"""Files of a folder that are taken for images."""

RAW_SUFFIXES = (
    *(".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".raf", ".orf"),
    *(".rw2", ".pef", ".srw", ".x3f", ".raw", ".3fr", ".fff", ".iiq", ".kdc", ".dcr", ".mrw"),
)
"""Files of cameras, which hold what their sensor has measured."""

# All are lossless except JPEG, whose quality makes losses hard to see.
_JPEG: Writer = ("JPEG", {"quality": 95, "subsampling": 0})
WRITERS: Mapping[str, Writer] = {
    ".png": ("PNG", {}),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": ("WEBP", {"lossless": True}),
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".ppm": ("PPM", {}),
}

_AVIF: Mapping[str, Writer] = {".avif": ("AVIF", {"quality": 95, "subsampling": "4:4:4"})}
TARGETS: Mapping[str, Writer] = {
    **WRITERS,
    ".gif": ("GIF", {}),
    **(_AVIF if HAS_AVIF else {}),
}
"""Pillow's format and its options by suffix, of results of `liif upscale`. PNG, TIFF, WebP, BMP
and PPM are lossless."""


def passed_over(names: Iterable[str]) -> str | None:
    """Return a line about the files of a folder that are not taken for images, by suffix; None if
    there are none."""
    ends = [PurePath(name).suffix.lower() for name in names]
    others = Counter(end or "no suffix" for end in ends if end not in SUFFIXES)
    if not others:
        return None
    listed = ", ".join(f"{count} {end}" for end, count in sorted(others.items()))
    missing = sorted({end for _, ends in PLUGINS.values() for end in ends} & others.keys())
    remedy = f"; for {' '.join(missing)}: pip install 'liif[formats]'" if missing else ""
    total = others.total()
    return f"{total} {'file' if total == 1 else 'files'} passed over: {listed}{remedy}"
