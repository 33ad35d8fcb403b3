"""Decode image files of every kind to gray or RGB of 8 or 16 bits, with alpha, upright.

All of the package reads pictures through `decode`, so that a file is read everywhere or nowhere.
H W is the size of the upright image.
"""

import logging
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
import tifffile

from liif.images.frame import Frame, upright_frame
from liif.images.netpbm import is_netpbm, read_netpbm, read_netpbm_header
from liif.images.opening import check_pixels, image_errors, open_image, orientation_of
from liif.images.pillow_frames import pillow_frames, stored_layout
from liif.images.sample_range import scaled
from liif.images.tiff_frames import tiff_frames
from liif.images.tiff_pages import find_pages, is_tiff

log = logging.getLogger("liif")


def decode(path: Path) -> Iterator[Frame]:
    """Yield the image, or one by one the frames of an animation or the pages of a TIFF file.

    - EXIF orientation is applied. Previews and masks are not read, and said so.
    - Bits: 1 to 8 are read as 8, 9 to 16 as 16, scaled so that white is white. Integers of 32 bits
      are treated as 16 bits if all fit, else refused; floating-point numbers are read as 16 bits
      if all are in [0, 1], else refused.
    - Palettes, YCbCr, CIELAB and CMYK become RGB of 8 bits; CMYK by its profile if there is one.
    - Alpha, a transparent colour of the palette and a key colour become `alpha`.

    Raises UserError if the file is missing, not readable, not an image, damaged, truncated or
    refused, or has more pixels than `check_pixels` allows.
    """
    with image_errors(path):
        if is_tiff(path):
            yield from tiff_frames(path)
            return
        if is_netpbm(path):
            with path.open("rb") as file:
                numbers, header = read_netpbm(file, path)
            yield _netpbm_frame(numbers, header.largest)
            return
    with open_image(path) as image:
        yield from pillow_frames(image, path)


def decode_first(path: Path) -> Frame:
    """Return the image, or the first of several, with a warning. Raises UserError as `decode`."""
    frames = decode(path)
    first = next(frames)
    if first.frames > 1:
        kind = "pages" if first.is_page else "frames"
        log.warning("%s: %d %s; only the first is read", path, first.frames, kind)
    return first


def decoded_size(path: Path) -> tuple[int, int]:
    """Return (H, W) of the first image that `decode` yields, from the file's header.

    PNG files whose metadata follow their pixels have to be decoded. Raises UserError as `decode`.
    """
    with image_errors(path):
        if is_tiff(path):
            with tifffile.TiffFile(path) as file:
                page = find_pages(file, path)[0][0]
            check_pixels(path, page.height, page.width)
            return page.upright_size
        if is_netpbm(path):
            with path.open("rb") as file:
                header = read_netpbm_header(file, path)
            return header.height, header.width
    with open_image(path) as image:
        if image.format == "PNG" and _has_late_metadata(path):
            image.load()
        width, height = image.size
        return (width, height) if orientation_of(image) in (5, 6, 7, 8) else (height, width)


def read_kind(path: Path) -> tuple[Literal[8, 16, 32], int, bool]:
    """Return the bits per channel, the number of colours (1 gray, 3 RGB) and whether there is
    transparency, from the header of a file that is no TIFF. Raises UserError as `decode`."""
    with image_errors(path):
        if is_netpbm(path):
            with path.open("rb") as file:
                header = read_netpbm_header(file, path)
            return header.bits, 1 if header.channels < 3 else 3, header.channels in (2, 4)
    with open_image(path) as image:
        layout = stored_layout(image)
        is_deep = image.mode.startswith("I") or re.match("(RGBA?|LA);16", layout) is not None
        is_gray = image.mode in ("1", "L", "LA", "La") or image.mode[0] == "I" or layout == "LA;16B"
        is_transparent = image.mode in ("LA", "La", "RGBA", "RGBa")
        return 16 if is_deep else 8, 1 if is_gray else 3, is_transparent


def _has_late_metadata(path: Path) -> bool:
    """Return whether a PNG has, after its first pixels, a chunk that may hold an orientation."""
    with path.open("rb") as file:
        file.seek(8)
        pixels_seen = False
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if pixels_seen and kind in (b"eXIf", b"iTXt", b"zTXt"):
                return True
            pixels_seen |= kind == b"IDAT"
            file.seek(length + 4, os.SEEK_CUR)
    return False


def _netpbm_frame(numbers: npt.NDArray[Any], largest: float) -> Frame:
    samples = scaled(numbers, 1 if numbers.dtype.kind == "f" else int(largest))
    colours = 1 if samples.shape[2] < 3 else 3
    alpha = samples[..., colours] if samples.shape[2] > colours else None
    return upright_frame(samples[..., :colours], alpha, {}, 1)
