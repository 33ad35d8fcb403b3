"""The suffixes of image files, and how Pillow writes each format.

This file imports no image library, so that a command can list the formats in its help.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

Writer = tuple[str, Mapping[str, Any]]
"""Pillow's name of a format, and its options."""

HAS_AVIF = find_spec("PIL._avif") is not None
"""Pillow is built with or without AVIF."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
"""Images for training and tests."""
PHOTO_SUFFIXES = (*SUFFIXES, ".gif", ".apng", *((".avif",) if HAS_AVIF else ()))
"""Images for `liif upscale`."""

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
