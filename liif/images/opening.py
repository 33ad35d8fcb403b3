"""Open image files with Pillow, safely: with limits against decompression bombs, a fixed list of
formats, and one error for whatever a decoder raises."""

import os
import re
import struct
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import IO, Any

from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.Image import Transpose
from PIL.ImageFile import ImageFile

from liif.core.errors import UserError
from liif.core.files import format_bytes
from liif.core.host_memory import available_memory
from liif.images.metadata.sound import without_damaged_metadata
from liif.images.suffixes import HAS_AVIF, PLUGINS, RAW_SUFFIXES

# The format is found by content, not by suffix. The list keeps files from starting a decoder that
# runs programs (EPS starts Ghostscript). TGA has no mark at its start: it goes by the suffix.
FORMATS = (
    *("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "ICO", "JPEG2000"),
    *(("AVIF",) if HAS_AVIF else ()),
)
_BY_SUFFIX = {".tga": "TGA"}

MAX_PIXELS = 89_478_485
"""Largest number of pixels of an image that is read whatever the size of its file: a file of some
kilobytes can claim any number. The value is Pillow's (256 MB of RGB)."""
MOST_PIXELS = 2**30
"""Largest number of pixels of an image without the environment variable LIIF_MAX_PIXELS."""
_PIXELS_PER_BYTE = 2000
"""Of a file larger than `MAX_PIXELS`. Deflate packs 1032 equal bytes into one, LZW 1500."""
_BYTES_PER_PIXEL = 32
"""Memory that enlarging needs: 4 decoded, 4 as an array, 24 as two copies of float32 RGB."""

# The operation that makes an image upright, by its EXIF orientation (1: is upright).
UPRIGHT: Mapping[int, Transpose] = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


class RefusedError(Exception):
    """The reason why an image is not read; `image_errors` turns it into a UserError."""


@contextmanager
def open_image(path: Path) -> Generator[ImageFile, None, None]:
    """Open a file with Pillow and read its header; errors inside become UserErrors."""
    with image_errors(path), path.open("rb") as file, _identified(file, path) as image:
        check_pixels(path, image.size[1], image.size[0])
        yield image


@contextmanager
def image_errors(path: Path) -> Generator[None, None, None]:
    """Turn every error of reading this image into a UserError; refuse pipes and devices."""
    try:
        # Reading a pipe may block for ever.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise RefusedError("a pipe or a device, not a file")
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # decoders raise many types on damaged data
        match error:
            case RefusedError():
                reason = str(error)
            case UnidentifiedImageError():
                reason = str(error) or "not an image of a known format, or damaged"
            case Image.DecompressionBombError() | Image.DecompressionBombWarning():
                reason = f"{error} Pillow's own limit for WebP, GIF and TIFF; save it as PNG"
            case OSError():
                reason = error.strerror or str(error)
            case _:
                reason = f"damaged: {error}"
        raise UserError(f"{os.path.abspath(path)}: cannot read the image: {reason}") from error


def check_pixels(path: Path, height: int, width: int) -> None:
    """Raise RefusedError for an image of more pixels than are read.

    The limit is the environment variable LIIF_MAX_PIXELS if it is set. Else images of up to
    `MAX_PIXELS` are read; larger ones, up to `MOST_PIXELS`, if their file is as large as such an
    image must be, and if memory suffices.
    """
    pixels, limit = height * width, max_pixels()
    if pixels <= limit:
        return
    named = f"{width}×{height} px are more than"
    remedy = "if you trust the file, set the environment variable LIIF_MAX_PIXELS, e.g. to 1G"
    if limit == MAX_PIXELS and not os.environ.get("LIIF_MAX_PIXELS"):
        limit, memory = min(MOST_PIXELS, os.path.getsize(path) * _PIXELS_PER_BYTE), None
        if pixels <= limit:
            memory = available_memory()
            if memory is None or pixels * _BYTES_PER_PIXEL <= memory:
                return
            needed = format_bytes(pixels * _BYTES_PER_PIXEL)
            raise RefusedError(
                f"{named} memory allows: about {needed} are needed and {format_bytes(memory)} are "
                "available; close other programs, or try it anyway with the environment variable "
                "LIIF_MAX_PIXELS, e.g. 1G"
            )
        limit = max(limit, MAX_PIXELS)
    raise RefusedError(
        f"{named} {limit} pixels, the limit against decompression bombs for such a file; {remedy}"
    )


def max_pixels() -> int:
    """Return the number of pixels up to which every image is read: LIIF_MAX_PIXELS, such as 200M
    (UserError if it is no number); else `MAX_PIXELS`, or Pillow's own limit if that was lowered."""
    if not (text := os.environ.get("LIIF_MAX_PIXELS", "")):
        return min(MAX_PIXELS, Image.MAX_IMAGE_PIXELS or MAX_PIXELS)
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([KMG]?)", text, re.IGNORECASE)
    number = float(found[1]) * 1000 ** " KMG".index(found[2].upper() or " ") if found else 0
    if number < 1:
        raise UserError(f"LIIF_MAX_PIXELS={text}: must be a number of pixels such as 200M or 1.5G")
    return int(number)


def _identified(file: IO[bytes], path: Path) -> ImageFile:
    """Open as `PIL.Image.open` does, but without its limit, which is global to the process."""
    Image.init()
    file = without_damaged_metadata(file)
    start, suffix = file.read(16), path.suffix.lower()
    if not start:
        raise UnidentifiedImageError("the file is empty")
    by_suffix = [_BY_SUFFIX[suffix]] if suffix in _BY_SUFFIX else []
    reason = ""
    for form in chain(FORMATS, _plugins(), by_suffix):
        make, accepts = Image.OPEN[form]
        is_it = accepts is None
        if accepts is not None:
            with suppress(struct.error):  # the file is shorter than what tells its format
                is_it = accepts(start) is True
        if not is_it:
            continue
        file.seek(0)
        try:
            return make(file, os.fspath(path))
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            reason = reason or f"{form} file that is damaged, or of a kind not read: {error}"
    if suffix in RAW_SUFFIXES or start.startswith(b"FUJIFILMCCD-RAW"):
        reason = "a camera raw file; develop it with a raw converter to TIFF of 16 bits"
    for package, (form, suffixes) in PLUGINS.items():
        if suffix in suffixes and form not in Image.OPEN:
            reason = f"{form} files need the package {package}: pip install 'liif[formats]'"
    raise UnidentifiedImageError(reason)


def _plugins() -> Iterator[str]:
    """Yield the formats of the packages of liif[formats] that are installed."""
    for package, (form, _) in PLUGINS.items():
        with suppress(ImportError):
            plugin: Any = import_module(package)  # pillow_jxl registers itself
            if package == "pillow_heif" and form not in Image.OPEN:
                plugin.register_heif_opener()
            yield form


def orientation_of(image: ImageFile) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if it is missing or invalid."""
    try:
        # The base class's method: that of PNG decodes the image to find metadata after the pixels.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, TypeError, KeyError, EOFError, OSError, struct.error):
        return 1  # the pixels of a file with damaged EXIF are fine
    return value if value in UPRIGHT else 1
