"""Metadata of AVIF files, which Pillow reads and writes; the colours of nclx are those of cICP.

HEIC, JPEG XL and JPEG 2000 are read in the same way.
"""

import struct
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from liif.images.metadata.exif import without_orientation
from liif.images.metadata.record import Metadata, Piece, Resolution

_COLOUR = b"colrnclx"
"""A box of ISO 14496-12, sec. 12.1.5, and its kind; primaries and transfer follow, 16 bits each."""
_USUAL = ((1, 13), (2, 2), (1, 1))
"""sRGB, not stated, BT.709."""


def read(data: bytes, form: str, info: Mapping[str, Any]) -> Metadata:
    """Return the metadata of a file of a format that begins with `data`, and of which Pillow says
    `info`."""
    exif, xmp, icc = (info.get(key) or None for key in ("exif", "xmp", "icc_profile"))
    at = data.find(_COLOUR)
    stated = struct.unpack_from(">HH", data, at + 8) if 0 <= at <= len(data) - 12 else (2, 2)
    colour: tuple[Piece, ...] = ()
    if stated not in _USUAL and max(stated) < 256:
        colour = (Piece(b"cICP", bytes([*stated, 0, 1])),)
    exif = exif.removeprefix(b"Exif\0\0") if exif else None
    dpi = [Fraction(side).limit_denominator(10**4) for side in info.get("dpi", ()) if side > 0]
    resolution = Resolution(dpi[0], dpi[1]) if len(dpi) == 2 else None
    return Metadata(form, resolution=resolution, icc=icc, exif=exif, xmp=xmp, colour=colour)


def options(metadata: Metadata) -> dict[str, bytes]:
    """Return Pillow's options. The orientation is stated outside of EXIF."""
    exif = metadata.exif and without_orientation(metadata.exif)
    found = {"icc_profile": metadata.icc, "exif": exif, "xmp": metadata.xmp}
    return {key: value for key, value in found.items() if value}


def embed(data: bytes, metadata: Metadata) -> bytes:
    """Return a file as Pillow writes it, with the colours of cICP."""
    for piece in metadata.colour:
        stated = struct.pack(">HH", *piece.data[:2])
        data = data.replace(_COLOUR + data[data.find(_COLOUR) + 8 :][:4], _COLOUR + stated)
    return data
