"""Metadata of BMP and of PBM, PGM and PPM files: a resolution, a profile, comments."""

import mmap
import re
import struct
from fractions import Fraction

from liif.images.metadata.record import Metadata, Resolution

_V5 = 124
"""Bytes of the BMP header that may refer to a profile."""
_EMBEDDED = b"DEBM"


def read_bmp(data: bytes | mmap.mmap) -> Metadata:
    """Return the metadata of a BMP file."""
    head = struct.unpack_from("<I", data, 14)[0]
    resolution = icc = None
    if head >= 40:
        x, y = struct.unpack_from("<ii", data, 38)
        if x > 0 and y > 0:
            resolution = Resolution(Fraction(x, 100), Fraction(y, 100), "cm")
    if head >= _V5 and bytes(data[70:74]) == _EMBEDDED:
        start, size = struct.unpack_from("<II", data, 14 + 112)
        icc = bytes(data[14 + start : 14 + start + size]) or None
    return Metadata(form="BMP", resolution=resolution, icc=icc)


def embed_bmp(data: bytes, metadata: Metadata, lost: list[str]) -> bytes:
    """Return a BMP file as Pillow writes it (a header of 40 bytes), with metadata."""
    stated = [0, 0]  # Pillow states 96 dpi
    if metadata.resolution and metadata.resolution.unit:
        sides = [round(side) for side in metadata.resolution.per("m")]
        if all(1 <= side < 2**31 for side in sides):
            stated = sides
        else:
            lost.append("resolution")
    data = data[:38] + struct.pack("<ii", *stated) + data[46:]
    if metadata.icc:
        longer = _V5 - 40
        size, start = len(data) + longer + len(metadata.icc), struct.unpack_from("<I", data, 10)[0]
        files = data[:2] + struct.pack("<I", size) + data[6:10] + struct.pack("<I", start + longer)
        masks, place = bytes(16), bytes(48)  # the place of white and primaries, and gamma
        images = 4  # rendering intent of photographs
        profile = struct.pack("<IIII", images, len(data) + longer - 14, len(metadata.icc), 0)
        head = struct.pack("<I", _V5) + data[18:54] + masks + _EMBEDDED + place + profile
        data = files + head + data[54:] + metadata.icc
    return data


def read_pnm(data: bytes | mmap.mmap) -> Metadata:
    """Return the comments between the numbers of the header."""
    head = bytes(data[: 2**16])
    comments: list[bytes] = []
    at = 2
    for _ in range(2 if head[1:2] in b"14" else 3):
        while found := re.compile(rb"\s*#([^\r\n]*)[\r\n]").match(head, at):
            comments.append(found[1].removeprefix(b" "))
            at = found.end()
        number = re.compile(rb"\s*\d+").match(head, at)
        if number is None:
            break
        at = number.end()
    return Metadata(form="PPM", comments=tuple(filter(None, comments)))


def embed_pnm(data: bytes, metadata: Metadata) -> bytes:
    """Return a file as Pillow writes it, with comments."""
    lines = [line for comment in metadata.comments for line in re.split(rb"[\r\n]+", comment)]
    return data[:3] + b"".join(b"# " + line + b"\n" for line in lines) + data[3:]
