"""List, read, measure and write image files as 8-bit RGB, for training and tests.

Images are uint8 (H, W, 3). `read_image` defines how files of other kinds are converted. A file that
cannot be used leads to a `UserError`.
"""

import os
import re
import struct
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.Image import Transpose
from PIL.ImageFile import ImageFile

from liif.core.errors import UserError
from liif.images.suffixes import SUFFIXES, WRITERS, Writer

Pixels = npt.NDArray[np.uint8]

# The format is found by content, not by suffix. The list keeps files from starting a decoder that
# runs programs (EPS starts Ghostscript). GIF is in it because some GIF files are named .png.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF")

MAX_PIXELS = 89_478_485
"""Largest number of pixels of an image that is read, unless the environment variable
LIIF_MAX_PIXELS is set: a file of some kilobytes can claim any number. The value is Pillow's (256 MB
of RGB)."""

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

MAX_SIDES = {"JPEG": 65500, "WEBP": 16383, "GIF": 65535, "AVIF": 16384}
"""Largest side in pixels that a format can hold."""


def list_images(path: Path) -> list[Path]:
    """Return the image files under a folder, including links and sub-folders, sorted by relative
    POSIX path; or a single image file. Raises UserError if there are none.

    A file is an image by its suffix (`SUFFIXES`, any case); names starting with a dot are skipped.
    If there are none, NumPy's arrays (.npy) are listed, which `channels` reads.
    """
    help_text = (
        f"looked for {' '.join(SUFFIXES)}. Point the data root at your data with "
        "`--set data_root=FOLDER` or the environment variable LIIF_DATA; datasets/README.md says "
        "how to get each data set."
    )
    place = os.path.abspath(path)
    try:
        if not path.exists():
            raise UserError(f"{place}: no such file or folder; {help_text}")
        found = [path]
        if path.is_dir():
            found = [Path(folder) / name for folder, names in walk(path) for name in names]
        images = [file for file in found if file.suffix.lower() in SUFFIXES and file.is_file()]
        if not images:  # arrays beside images are something else
            images = [file for file in found if file.suffix.lower() == ".npy" and file.is_file()]
    except OSError as error:
        reason = f"cannot list {os.path.abspath(error.filename)}: {error.strerror}"
        raise UserError(f"{place}: {reason}") from error
    if not images:
        raise UserError(f"{place}: no images here; {help_text}")
    return sorted(images, key=lambda file: file.relative_to(path).as_posix())


def walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder under `root` and the names of its visible files; a folder that is reached
    twice through links is visited once."""

    def fail(error: OSError) -> None:
        raise error

    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=fail):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield folder, [name for name in names if not name.startswith(".")]


def read_image(path: Path) -> Pixels:
    """Decode an image file to uint8 (H, W, 3), RGB, contiguous and writable.

    - EXIF orientation is applied. Colour profiles are not.
    - Gray is replicated to three channels; palette, 1-bit, CMYK, YCbCr and LAB become RGB.
    - Transparency (alpha, also premultiplied; palette; key colour except of 16-bit gray) is
      composited over white.
    - 16 bits per channel are reduced to the high byte (value >> 8), in gray and in colour.
      32-bit integers are treated as 16-bit integers if all fit, else refused; floats are refused.
    - Of several frames or pages the first is read.

    Raises UserError if the file is missing, not readable, not an image, damaged, truncated, or has
    more than `max_pixels()` pixels.
    """
    with open_image(path) as image:
        image.load()
        turn = UPRIGHT.get(orientation_of(image))
        return _to_rgb(image if turn is None else image.transpose(turn))


def image_size(path: Path, formats: Sequence[str] = FORMATS) -> tuple[int, int]:
    """Return (H, W) of the image that `read_image` returns, from the file's header.

    Two rare kinds have to be decoded: rotated TIFF files (some versions of Pillow swap the sides
    only then) and PNG files whose metadata follow their pixels. Raises UserError as `read_image`.
    """
    with open_image(path, formats) as image:
        is_turned = image.format == "TIFF" and orientation_of(image) != 1
        if is_turned or (image.format == "PNG" and _has_late_metadata(path)):
            image.load()
        width, height = image.size
        return (width, height) if orientation_of(image) in (5, 6, 7, 8) else (height, width)


def write_image(path: Path, image: Pixels) -> None:
    """Write uint8 (H, W, 3) to `path` atomically; the suffix selects the format, lossless except
    for JPEG (quality 95, 4:4:4). Missing folders are created. Raises ValueError for another shape
    or dtype, UserError if the file cannot be written."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), not {image.dtype} {image.shape}")
    form, options = check_format(path, (image.shape[0], image.shape[1]))
    with replaced_atomically(path) as temporary:
        Image.fromarray(image).save(temporary, form, **options)


def check_format(
    path: Path, size: tuple[int, int], writers: Mapping[str, Writer] = WRITERS
) -> Writer:
    """Return Pillow's name of the format that the suffix selects, and its options. Raises UserError
    if the suffix is unknown, or the format cannot hold an image of `size` (H, W)."""
    if path.suffix.lower() not in writers:
        raise UserError(f"{path}: cannot write this format; use one of {' '.join(writers)}")
    form, options = writers[path.suffix.lower()]
    if max(size) > (largest := MAX_SIDES.get(form, 2**31 - 1)):
        raise UserError(
            f"{path}: {size[1]}×{size[0]} px is more than {form} can hold ({largest} px); use .png"
        )
    return form, options


@contextmanager
def replaced_atomically(path: Path) -> Generator[Path, None, None]:
    """Yield a temporary file beside `path`, which replaces `path` unless an error is raised."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except (OSError, ValueError) as error:  # ValueError: too large for the format
        raise UserError(f"{os.path.abspath(path)}: cannot write the image: {error}") from error
    finally:
        with suppress(OSError):  # it was renamed unless there was an error
            temporary.unlink()


@contextmanager
def open_image(path: Path, formats: Sequence[str] = FORMATS) -> Generator[ImageFile, None, None]:
    """Open a file with Pillow and read its header; errors inside become UserErrors."""
    with image_errors(path), path.open("rb") as file, _identified(file, path, formats) as image:
        check_pixels(image.size[1], image.size[0])
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
            case UnidentifiedImageError() if os.path.getsize(path) == 0:
                reason = "the file is empty"
            case UnidentifiedImageError():
                reason = "not an image of a known format, or damaged"
            case Image.DecompressionBombError() | Image.DecompressionBombWarning():
                reason = f"{error} Pillow's own limit for WebP, GIF and TIFF; save it as PNG"
            case OSError():
                reason = error.strerror or str(error)
            case _:
                reason = f"damaged: {error}"
        raise UserError(f"{os.path.abspath(path)}: cannot read the image: {reason}") from error


class RefusedError(Exception):
    """The reason why an image is not read; `image_errors` turns it into a UserError."""


def check_pixels(height: int, width: int, frames: int = 1) -> None:
    """Raise RefusedError for more than `max_pixels()` pixels in all frames."""
    if height * width * frames > (limit := max_pixels()):
        number = f"{width}×{height}" + (f"×{frames}" if frames > 1 else "")
        raise RefusedError(
            f"{number} px are more than {limit} pixels, the limit against decompression bombs; if "
            "you trust the file, set the environment variable LIIF_MAX_PIXELS, e.g. to 1G"
        )


def max_pixels() -> int:
    """Return the limit of pixels: LIIF_MAX_PIXELS, such as 200M (UserError if it is no number);
    else `MAX_PIXELS`, or Pillow's own limit if that was lowered."""
    if not (text := os.environ.get("LIIF_MAX_PIXELS", "")):
        return min(MAX_PIXELS, Image.MAX_IMAGE_PIXELS or MAX_PIXELS)
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([KMG]?)", text, re.IGNORECASE)
    number = float(found[1]) * 1000 ** " KMG".index(found[2].upper() or " ") if found else 0
    if number < 1:
        raise UserError(f"LIIF_MAX_PIXELS={text}: must be a number of pixels such as 200M or 1.5G")
    return int(number)


def _identified(file: IO[bytes], path: Path, formats: Sequence[str]) -> ImageFile:
    """Open as `PIL.Image.open` does, but without its limit, which is global to the process."""
    Image.init()
    start = file.read(16)
    for form in formats:
        make, accepts = Image.OPEN[form]
        if accepts is None or accepts(start) is True:
            file.seek(0)
            with suppress(SyntaxError, IndexError, TypeError, struct.error):
                return make(file, os.fspath(path))
    raise UnidentifiedImageError


def orientation_of(image: ImageFile) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if it is missing or invalid."""
    try:
        # The base class's method: that of PNG decodes the image to find metadata after the pixels.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, TypeError, KeyError, EOFError, OSError, struct.error):
        return 1  # the pixels of a file with damaged EXIF are fine
    return value if value in UPRIGHT else 1


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


def _to_rgb(image: Image.Image) -> Pixels:
    """Convert a decoded image of any mode to uint8 (H, W, 3); see `read_image`."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range; save it as 8 or 16 bit")
    if image.mode.startswith("I"):
        gray = np.asarray(image)
        if gray.min() < 0 or gray.max() > 65535:
            raise ValueError("32-bit pixels beyond the 16-bit range; save it as 8 or 16 bit")
        return np.repeat((gray >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "La":  # premultiplied gray, which Pillow cannot convert to RGBA directly
        image = image.convert("LA")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image.convert("RGB"))
