"""Read what an image file says beside its pixels, whatever its format."""

import mmap
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from liif.images.metadata import avif, gif, jpeg, plain, png, tiff, webp, xmp
from liif.images.metadata.exif import open_exif, orientation_in
from liif.images.metadata.ifd import DamagedError
from liif.images.metadata.record import Metadata

_BOXES = (b"ftyp", b"jP  ", b"JXL ")
_STREAMS = (b"\xff\x0a", b"\xff\x4f\xff\x51")
"""How files of JPEG XL and JPEG 2000 without boxes begin."""
_RECORD, _RECORD_CHUNK = b"liif-result: ", "liIF"
"""How the record of what made a result begins, and its chunk in PNG."""
_READERS: tuple[tuple[bytes, Callable[[mmap.mmap], Metadata]], ...] = (
    (png.START, png.read), (b"\xff\xd8", jpeg.read), (b"GIF8", gif.read), (b"BM", plain.read_bmp),
    *((b"P%d" % i, plain.read_pnm) for i in range(1, 8)),
)  # fmt: skip
"""How files begin, and what reads them."""


def read_metadata(path: Path, directory: int = 0, *, is_page: bool = False) -> Metadata:
    """Return what a file says beside its pixels; never raises an error: what cannot be read is
    listed in `dropped`.

    Args:
        path: an image file of any format.
        directory: position of the image's tags in a TIFF file; 0 for the first.
        is_page: whether a TIFF file has further pages, each with tags of its own.
    """
    try:
        found = _read(path, directory, is_page)
        return _without_record(found)._replace(orientation=_orientation(found))
    except Exception:  # damaged in a way that no reader expects; the pixels may be fine
        return Metadata(dropped=("metadata (damaged)",))


def _read(path: Path, directory: int, is_page: bool) -> Metadata:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = bytes(data[:16])
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return tiff.read(data, directory, is_page=is_page)
        if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            return webp.read(data)
        for beginning, read in _READERS:
            if start.startswith(beginning):
                return read(data)
        if start[4:8] in _BOXES or start.startswith(_STREAMS):
            with Image.open(path) as image:
                return avif.read(bytes(data[: 2**16]), str(image.format), image.info)
    return Metadata()


def _without_record(metadata: Metadata) -> Metadata:
    """Return what remains without the record of what made a file, if it is a result itself."""
    return metadata._replace(
        comments=tuple(each for each in metadata.comments if not each.startswith(_RECORD)),
        pieces=tuple(each for each in metadata.pieces if not each.data.startswith(_RECORD)),
        dropped=tuple(each for each in metadata.dropped if each != _RECORD_CHUNK),
    )


def _orientation(metadata: Metadata) -> int:
    """Return the orientation that EXIF states, or else XMP."""
    try:
        value = orientation_in(open_exif(metadata.exif)) if metadata.exif else 1
    except DamagedError:
        value = 1
    if value == 1 and metadata.xmp:
        value = xmp.orientation_of(metadata.xmp)
    return value
