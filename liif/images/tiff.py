"""Read TIFF files of 16 bits per channel, and write TIFF files of any size tile by tile."""

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from liif.core.sizes import Size
from liif.images.png import ImageArray

BIGTIFF_BYTES = 2**32 - 2**25
"""Bytes of pixels above which BigTIFF is written; the margin to 4 GB is for data that deflate
enlarges."""
TILE = 256
"""Side of a tile in pixels."""
BUFFER_BYTES = 2**25
"""Bytes of tiles that are compressed at a time, one tile per core."""

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # channels by PhotometricInterpretation
_PREMULTIPLIED, _UNASSOCIATED = 1, 2  # kinds of alpha

Deep = npt.NDArray[np.uint16]


def deep_page(file: tifffile.TiffFile) -> tifffile.TiffPage | None:
    """Return the first page; None if it is not gray, RGB or CMYK of unsigned 16 bits, or has a
    compression, such as LZW, that needs the package imagecodecs."""
    page = file.pages.first
    try:
        _ = _COLOURS[int(page.photometric)]
        _ = tifffile.TIFF.DECOMPRESSORS[page.compression]
        _ = tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError:
        return None
    return page if page.dtype == np.uint16 and page.imagedepth == 1 else None


def read_deep_page(page: tifffile.TiffPage) -> tuple[Deep, Deep | None]:
    """Return the colour of a page that `deep_page` returned, uint16 (H, W, 1 gray, 3 RGB or 4
    CMYK), and its alpha (H, W), as stored, except that white is 65535 and colours are not
    multiplied by alpha. Further channels are ignored."""
    array = page.asarray().reshape(page.shaped)[:, 0]  # (planes, H, W, channels of a plane)
    array = np.moveaxis(array, 0, -2).reshape(page.imagelength, page.imagewidth, -1)
    if int(page.photometric) == 0:
        array = 65535 - array
    colours = _COLOURS[int(page.photometric)]
    colour, kind = array[..., :colours], int(page.extrasamples[0]) if page.extrasamples else 0
    if kind not in (_PREMULTIPLIED, _UNASSOCIATED):
        return colour, None
    alpha = array[..., colours]
    if kind == _PREMULTIPLIED and colours < 4:
        straight = colour / np.maximum(alpha, 1)[..., None] * 65535
        colour = straight.round().clip(0, 65535).astype(np.uint16)
    return colour, alpha


def is_tiff(path: Path) -> bool:
    """Return whether a file starts as TIFF or BigTIFF."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def write_tiff(
    path: Path, size: Size, strips: Iterable[ImageArray], channels: int = 3, bits: int = 8,
    *, icc: bytes | None = None, exif: bytes | None = None, is_photo: bool = True,
) -> None:  # fmt: skip
    """Write strips (rows, W, channels), from top to bottom, to a tiled, deflated TIFF file of size
    (H, W); to BigTIFF from 4 GB on, with only the texts of the EXIF data. The other arguments are
    those of `PngWriter`; unless `is_photo`, there may be any number of channels, of which none is
    alpha, and 32 bits are floats."""
    H, W = size
    side = [min(TILE, -(-n // 16) * 16) for n in size]
    is_big = H * W * channels * bits // 8 > BIGTIFF_BYTES
    extra_kinds = [_UNASSOCIATED] * (channels in (2, 4)) if is_photo else [0] * (channels - 1)
    tags = Image.Exif()
    tags.load(exif or b"")
    further = dict(tags.get_ifd(ExifTags.IFD.Exif))
    extra: list[tuple[int | str, Any, int, Any, bool]] = [
        (code, "s", 0, value.encode(), True) for code, value in tags.items() if type(value) is str
    ]
    if further and not is_big:
        extra.append(("ExifTag", 4, 1, 0, True))
    with tifffile.TiffWriter(path, bigtiff=is_big, byteorder="<") as writer:
        writer.write(
            _tiles(strips, *side),
            shape=(H, W, channels) if channels > 1 else (H, W),
            dtype={8: np.uint8, 16: np.uint16, 32: np.float32}[bits],
            photometric="rgb" if is_photo and channels > 2 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=extra_kinds or None,
            tile=side,
            compression="zlib",
            predictor=bits < 32,  # that of floats needs the package imagecodecs
            buffersize=BUFFER_BYTES,
            iccprofile=icc,
            software=False,
            metadata=None,
            extratags=extra,
        )
    if further and not is_big:
        _append_exif(path, further)


def _tiles(strips: Iterable[ImageArray], rows: int, columns: int) -> Iterator[ImageArray]:
    """Cut strips into tiles, row by row; tiles at the right and at the bottom may be smaller."""
    for band in _in_bands(strips, rows):
        for left in range(0, band.shape[1], columns):
            yield band[:, left : left + columns]


def _in_bands(strips: Iterable[ImageArray], rows: int) -> Iterator[ImageArray]:
    """Cut the image into strips of `rows` rows; the last may have fewer."""
    held: list[ImageArray] = []
    for strip in strips:
        while len(strip):
            missing = rows - sum(map(len, held))
            held.append(strip[:missing])
            strip = strip[missing:]
            if len(held[-1]) == missing:
                yield np.concatenate(held) if len(held) > 1 else held[0]
                held = []
    if held:
        yield np.concatenate(held)


def _append_exif(path: Path, tags: dict[int, Any]) -> None:
    """Append the EXIF directory to a TIFF file and write its offset to the reserved tag."""
    directory = ImageFileDirectory_v2(group=ExifTags.IFD.Exif)
    directory.update(tags)
    with path.open("rb+") as file:
        reserved = struct.pack("<HHII", ExifTags.IFD.Exif, 4, 1, 0)
        entry = file.read(2**16).index(reserved)  # the first directory is at the start
        offset = file.seek(0, os.SEEK_END)
        file.write(directory.tobytes(offset))
        file.seek(entry + 8)
        file.write(struct.pack("<I", offset))
