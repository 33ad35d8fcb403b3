"""TIFF by tifffile: files of 16 bits per sample read, files of any size written tile by tile."""

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from liif.images.png import Samples

BIG = 2**32 - 2**25
"""Bytes of pixels from which BigTIFF is written; the rest is for what deflate makes larger."""
TILE = 256
IN_WORK = 2**25
"""Bytes of tiles that are compressed at a time, each on a core."""

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # channels by PhotometricInterpretation
_UNASSOCIATED = 2


class Deep(NamedTuple):
    """What is to know of the first page of a TIFF file of 16 bits per sample."""

    page: tifffile.TiffPage
    size: tuple[int, int]
    """(H, W), as stored."""
    colours: int
    """1 gray, 3 RGB or 4 CMYK; further channels are alpha or unknown."""
    has_alpha: bool
    is_premultiplied: bool
    icc: bytes | None
    pages: int


def deep(file: tifffile.TiffFile) -> Deep | None:
    """None if the first page is not gray, RGB or CMYK of unsigned 16 bits, or compressed in a way
    that only the package imagecodecs undoes, as LZW."""
    page = file.pages.first
    known = page.dtype == np.uint16 and int(page.photometric) in _COLOURS
    try:
        _ = (
            tifffile.TIFF.DECOMPRESSORS[page.compression],
            tifffile.TIFF.UNPREDICTORS[page.predictor],
        )
    except KeyError:
        known = False
    if not known or page.imagedepth != 1:
        return None
    colours, extra = _COLOURS[int(page.photometric)], [int(kind) for kind in page.extrasamples]
    return Deep(
        page,
        size=(page.imagelength, page.imagewidth),
        colours=colours,
        has_alpha=extra[:1] in ([1], [2]),
        is_premultiplied=extra[:1] == [1],
        icc=page.iccprofile,
        pages=len(file.pages),
    )


def deep_samples(page: tifffile.TiffPage) -> npt.NDArray[np.uint16]:
    """uint16 (H, W, channels), straight from the file but that 0 is black."""
    array = page.asarray().reshape(page.shaped)[:, 0]  # (planes, H, W, channels of a plane)
    array = np.moveaxis(array, 0, -2).reshape(page.imagelength, page.imagewidth, -1)
    return 65535 - array if int(page.photometric) == 0 else array


def is_tiff(path: Path) -> bool:
    """By its first bytes."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def write_tiff(
    path: Path,
    size: tuple[int, int],
    strips: Iterable[Samples],
    channels: int = 3,
    bits: int = 8,
    *,
    icc: bytes | None = None,
    exif: bytes | None = None,
) -> None:
    """Strips (rows, W, channels), uint8 or uint16, from top to bottom, to a tiled TIFF of `size`
    (H, W), deflated; BigTIFF from 4 GB on. Channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
    Of EXIF, BigTIFF is given its texts only."""
    H, W = size
    side = [min(TILE, -(-n // 16) * 16) for n in size]
    is_big = H * W * channels * bits // 8 > BIG
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
            _tiles(strips, side[0], side[1]),
            shape=(H, W, channels) if channels > 1 else (H, W),
            dtype=np.uint8 if bits == 8 else np.uint16,
            photometric="rgb" if channels > 2 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=[_UNASSOCIATED] if channels in (2, 4) else None,
            tile=side,
            compression="zlib",
            predictor=True,
            buffersize=IN_WORK,
            iccprofile=icc,
            software=False,
            metadata=None,
            extratags=extra,
        )
    if further and not is_big:
        _append_exif(path, further)


def _tiles(strips: Iterable[Samples], rows: int, columns: int) -> Iterator[Samples]:
    """Strips cut into tiles, row by row; those at the right and at the bottom may be smaller."""
    for band in in_bands(strips, rows):
        for left in range(0, band.shape[1], columns):
            yield band[:, left : left + columns]


def in_bands(strips: Iterable[Samples], rows: int) -> Iterator[Samples]:
    """The same image in strips of so many rows; the last may have fewer."""
    held: list[Samples] = []
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
    """EXIF's own directory to the end of a TIFF file, and its place into the tag that waits."""
    directory = ImageFileDirectory_v2(group=ExifTags.IFD.Exif)
    for code, value in tags.items():
        directory[code] = value
    with path.open("rb+") as file:
        waiting = struct.pack("<HHII", ExifTags.IFD.Exif, 4, 1, 0)
        entry = file.read(2**16).index(waiting)  # the first directory is where the file begins
        place = file.seek(0, os.SEEK_END)
        file.write(directory.tobytes(place))
        file.seek(entry + 8)
        file.write(struct.pack("<I", place))
