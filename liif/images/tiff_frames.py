"""Decode the pages of TIFF files: numbers with NumPy, pictures with the decoder of their kind."""

import io
import logging
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from liif.images.frame import Frame, upright_frame
from liif.images.opening import RefusedError, check_pixels
from liif.images.pillow_frames import pillow_frame, plain_image, samples_of
from liif.images.tiff_colour import to_colour
from liif.images.tiff_pages import Page, find_pages, read_numbers

log = logging.getLogger("liif")


def tiff_frames(path: Path) -> Iterator[Frame]:
    """Yield the pages of a file one by one. Previews and masks are named in a warning."""
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
        colour, info = samples_of(plain_image(image, icc, force_rgb=True)), {}
    return upright_frame(colour, alpha, info, page.orientation)


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
            return pillow_frame(image, path, "", is_frame=False)
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
    return upright_frame(colour, alpha, info, page.orientation)
