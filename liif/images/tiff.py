"""Write TIFF files of any size tile by tile."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tifffile

from liif.core.sizes import Size
from liif.images.png import ImageArray

BIGTIFF_BYTES = 2**32 - 2**25
"""Bytes of pixels above which BigTIFF is written; the margin to 4 GB is for data that deflate
enlarges."""
TILE = 256
"""Side of a tile in pixels."""
BUFFER_BYTES = 2**25
"""Bytes of tiles that are compressed at a time, one tile per core."""

_UNASSOCIATED = 2  # kind of alpha


def write_tiff(
    path: Path, size: Size, strips: Iterable[ImageArray], channels: int = 3, bits: int = 8,
    *, icc: bytes | None = None, is_photo: bool = True, page: int = 0, pages: int = 1,
) -> None:  # fmt: skip
    """Write strips (rows, W, channels), from top to bottom, to a tiled, deflated TIFF file of size
    (H, W); to BigTIFF from 4 GB on. The other arguments are those of `PngWriter`, and `icc`, the
    colour profile; unless `is_photo`, there may be any number of channels, of which none is alpha,
    and 32 bits are floats. Of several `pages`, each but `page` 0 is appended to the file."""
    H, W = size
    side = [min(TILE, -(-n // 16) * 16) for n in size]
    extra_kinds = [_UNASSOCIATED] * (channels in (2, 4)) if is_photo else [0] * (channels - 1)
    is_big = pages * H * W * channels * bits // 8 > BIGTIFF_BYTES
    # The first page decides on the format, and pages may be larger than it.
    big, order = (False, None) if page else (is_big, "<")
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order, append=page > 0) as writer:
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
        )


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
