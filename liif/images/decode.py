"""Decode image files of every kind to gray or RGB of 8 or 16 bits, with alpha, upright.

All of the package reads pictures through `decode`, so that a file is read everywhere or nowhere.
H W is the size of the upright image.
"""

import io
import logging
import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from liif.images.netpbm import is_netpbm, read_netpbm, read_netpbm_header
from liif.images.opening import (
    RefusedError,
    check_pixels,
    image_errors,
    open_image,
    orientation_of,
)
from liif.images.png import ImageArray
from liif.images.sample_range import scaled
from liif.images.tiff_colour import to_colour
from liif.images.tiff_pages import Page, counted, find_pages, is_tiff, read_numbers

ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats whose images are the frames of an animation."""

log = logging.getLogger("liif")


class Frame(NamedTuple):
    """An image, a frame of an animation, or a page of a document."""

    colour: ImageArray
    """uint8 or uint16 (H, W, 1 or 3), gray or RGB, not multiplied by alpha."""
    alpha: ImageArray | None
    """(H, W) of the same dtype; None if all pixels are opaque."""
    info: dict[Any, Any]
    """What Pillow tells of the file; without `icc_profile` if colours were converted."""
    frames: int = 1
    """Number of frames of the animation, or of pages."""
    is_page: bool = False
    turn: int = 1
    """The EXIF orientation that was applied."""
    directory: int = 0
    """Position of the page's tags in a TIFF file."""


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
            yield from _tiff_frames(path)
            return
        if is_netpbm(path):
            with path.open("rb") as file:
                numbers, header = read_netpbm(file, path)
            yield _netpbm_frame(numbers, header.largest)
            return
    with open_image(path) as image:
        yield from _pillow_frames(image, path)


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
        layout = _layout(image)
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


# Images that Pillow decodes


def _pillow_frames(image: ImageFile, path: Path) -> Iterator[Frame]:
    count = int(getattr(image, "n_frames", 1))
    is_animated = image.format in ANIMATED and count > 1
    if not is_animated and count > 1:
        log.warning("%s: not read besides the image: %s", path, counted(count - 1, "picture"))
    if image.format == "ICO" and len(image.info.get("sizes", ())) > 1:
        log.warning("%s: the largest of %d icons is read", path, len(image.info["sizes"]))
    layout = _layout(image)
    if is_animated and ";16" in layout:
        log.warning("%s: only 8 of the 16 bits of an animation are read", path)
    first = 1 if is_animated and image.info.get("default_image") else 0
    for i in range(first, count) if is_animated else [None]:
        if i:
            image.seek(i)
        image.load()
        frame = _pillow_frame(image, path, layout, is_frame=is_animated)
        yield frame._replace(frames=count - first) if is_animated else frame


def _layout(image: ImageFile) -> str:
    """Return how a file that is not loaded yet stores its pixels, in Pillow's words."""
    arguments: Any = image.tile[0].args if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _pillow_frame(image: ImageFile, path: Path, layout: str, *, is_frame: bool) -> Frame:
    """Return the frame of a loaded image, the pixels of which are stored in a `_layout`."""
    info, key = dict(image.info), image.info.get("transparency")
    if image.format == "PNG" and image.mode == "L" and type(key) is int:
        with path.open("rb") as file:  # Pillow scales pixels of 2 and 4 bits to 8, but not the key
            image.info["transparency"] = key * 255 // (2 ** file.read(25)[24] - 1)
    samples = None
    if image.format == "PNG" and not is_frame and re.fullmatch("(RGBA?|LA);16B", layout):
        samples = _deep_samples(image, path)
    if samples is None:
        bits = 8 if is_frame else stored_bits(image, path)
        if image.mode.startswith("I") and bits < 16:  # of JPEG 2000: shifted, not scaled
            samples = scaled(np.asarray(image) >> (16 - bits), 2**bits - 1)[..., None]
        else:
            plain = plain_image(image, info.get("icc_profile"), force_rgb=is_frame)
            samples = _samples(plain)
            if bits > 8 and samples.dtype == np.uint8:
                log.warning("%s: only 8 of its %d bits are read", path, bits)
        if image.mode in ("CMYK", "LAB"):
            info.pop("icc_profile", None)
    colours = 1 if samples.shape[2] < 3 else 3
    colour, alpha = samples[..., :colours], None
    if samples.shape[2] > colours:
        alpha = samples[..., colours]
    elif samples.dtype == np.uint16 and key is not None:
        alpha = np.where((colour == np.uint16(key)).all(axis=2), 0, 65535).astype(np.uint16)
    return _frame(colour, alpha, info, orientation_of(image))


def _frame(colour: ImageArray, alpha: ImageArray | None, info: dict[Any, Any], turn: int) -> Frame:
    """Return a frame, turned upright by its EXIF orientation."""
    if alpha is not None and (alpha == np.iinfo(alpha.dtype).max).all():
        alpha = None
    upright = [None if part is None else np.ascontiguousarray(turned(part, turn))
               for part in (colour, alpha)]  # fmt: skip
    assert upright[0] is not None
    return Frame(upright[0], upright[1], info, turn=turn)


def turned(samples: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Apply an EXIF orientation: transpose (5 to 8), then flip."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples[:, ::-1] if orientation in (2, 3, 6, 7) else samples


def plain_image(image: Image.Image, icc: bytes | None, *, force_rgb: bool) -> Image.Image:
    """Convert a decoded image to mode L, LA, RGB, RGBA or one of 16 or 32 bits."""
    if image.mode.startswith("I") or image.mode == "F":
        return image
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "CMYK" and icc:
        with suppress(ImageCms.PyCMSError, OSError):
            source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
            assert converted is not None
            return converted
    gray = image.mode in ("1", "L", "LA") and not force_rgb
    alpha = "A" if image.has_transparency_data else ""
    return image.convert(("L" if gray else "RGB") + alpha)


def _samples(image: Image.Image) -> ImageArray:
    """Return (H, W, channels) of an image that `plain_image` returned."""
    array = np.asarray(image)
    if image.mode.startswith("I") or image.mode == "F":
        array = scaled(array, 65535)
    return array.reshape(*array.shape[:2], -1)


def stored_bits(image: ImageFile, path: Path) -> int:
    """Return the bits per channel of a file, of which Pillow may decode only 8."""
    if image.format == "HEIF":
        return int(image.info.get("bit_depth") or 8)
    if image.format in ("AVIF", "JPEG2000"):
        with path.open("rb") as file:
            head = file.read(2**16)
        if (at := head.find(b"av1C")) >= 0 and at + 6 < len(head):  # the box of AV1's settings
            return {0x40: 10, 0x60: 12}.get(head[at + 6] & 0x60, 8)
        if (at := head.find(b"\xff\x4f\xff\x51")) >= 0 and at + 42 < len(head):  # image and tile
            return (head[at + 42] & 0x7F) + 1
    return 16 if image.mode.startswith("I") else 8


def _deep_samples(image: ImageFile, path: Path) -> npt.NDArray[np.uint16]:
    """Return uint16 (H, W, channels) of a PNG file that has 16 bits per channel but of which Pillow
    decodes only the high bytes.

    `image` has the high bytes; decoding again with the reversed byte order gives the low bytes.
    (torchvision's decoder reads 16 bits, but is deprecated.)
    """
    with open_image(path) as again:
        raw = _layout(again)
        is_gray = raw == "LA;16B"  # Pillow decodes gray and alpha of two bytes each as RGBA
        new = "RGBA" if is_gray else raw[:-1] + "L"
        again.tile = [tile._replace(args=new) for tile in again.tile]
        again.load()
        low = np.asarray(again).astype(np.uint16)
    if is_gray:
        return (256 * low[..., 0::2] + low[..., 1::2]).astype(np.uint16)
    return (256 * np.asarray(image).astype(np.uint16) + low).astype(np.uint16)


# Images that tifffile and NumPy decode


def _tiff_frames(path: Path) -> Iterator[Frame]:
    with tifffile.TiffFile(path) as file:
        pages, others = find_pages(file, path)
        if others:
            log.warning("%s: not read besides the image: %s", path, others)
        for page in pages:
            check_pixels(path, page.height, page.width)
            icc = page.tags.iccprofile
            if page.is_of_numbers:
                frame = _frame_of_numbers(page, path, icc)
            else:
                frame = _frame_of_picture(page, path)
            frame = frame._replace(turn=page.orientation, directory=page.tags.offset)
            yield frame._replace(frames=len(pages), is_page=len(pages) > 1)


def _frame_of_numbers(page: Page, path: Path, icc: bytes | None) -> Frame:
    colour, alpha = to_colour(page, read_numbers(page, path), path)
    info = {} if icc is None else {"icc_profile": icc}
    if page.photometric in (5, 8, 9):
        mode = "CMYK" if page.photometric == 5 else "LAB"
        image = Image.frombytes(mode, colour.shape[1::-1], colour.tobytes())
        colour, info = _samples(plain_image(image, icc, force_rgb=True)), {}
    return _frame(colour, alpha, info, page.orientation)


def _frame_of_picture(page: Page, path: Path) -> Frame:
    """Decode a page of a compression of pictures, such as JPEG and those of fax, with Pillow.

    Pillow finds pages in the chain of directories only; a copy's header is made to name the page's.
    """
    data, is_big = bytearray(path.read_bytes()), page.tags.parent.is_bigtiff
    order = page.tags.parent.byteorder
    struct.pack_into(f"{order}{'Q' if is_big else 'I'}", data, 8 if is_big else 4, page.tags.offset)
    try:
        with TiffImageFile(io.BytesIO(data), str(path)) as image:
            image.load()  # turns it upright, too
            return _pillow_frame(image, path, "", is_frame=False)
    except (SyntaxError, KeyError, OSError) as error:
        return _frame_of_codecs(page, path, error)


def _frame_of_codecs(page: Page, path: Path, reason: Exception) -> Frame:
    """Decode a page with the package imagecodecs, which knows rare compressions of pictures."""
    name = tifffile.COMPRESSION(page.tags.compression).name
    try:
        _ = tifffile.TIFF.DECOMPRESSORS[page.tags.compression]
    except KeyError:
        if not isinstance(reason, SyntaxError | KeyError):
            raise reason from None
        text = f"TIFF with {name} compression needs a package: pip install 'liif[formats]'"
        raise RefusedError(text) from reason
    planes = page.tags.asarray().reshape(page.tags.shaped)[:, 0]
    numbers = np.moveaxis(planes, 0, 2).reshape(page.height, page.width, page.samples)
    photometric = 2 if page.photometric == 6 else page.photometric  # YCbCr is converted
    colour, alpha = to_colour(page._replace(photometric=photometric), numbers, path)
    icc = page.tags.iccprofile
    info = {} if icc is None else {"icc_profile": icc}
    return _frame(colour, alpha, info, page.orientation)


# Netpbm


def _netpbm_frame(numbers: npt.NDArray[Any], largest: float) -> Frame:
    samples = scaled(numbers, 1 if numbers.dtype.kind == "f" else int(largest))
    colours = 1 if samples.shape[2] < 3 else 3
    alpha = samples[..., colours] if samples.shape[2] > colours else None
    return _frame(samples[..., :colours], alpha, {}, 1)
