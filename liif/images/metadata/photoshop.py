"""Image resources of Photoshop ("8BIM"), in which JPEG files have IPTC records.

Adobe Photoshop File Formats Specification, "Image Resource Blocks".
"""

import struct
from collections.abc import Iterator

from liif.images.metadata import exif, xmp
from liif.images.metadata.record import Change

IPTC = 1028
_THUMBNAILS = (1033, 1036)
_OLD_PIXELS = {1032: "guides", 1050: "slices"}
"""Resources with positions in the old pixels."""
_EXIF, _XMP = 1058, 1060

Block = tuple[int, bytes, bytes]
"""Number, name as stored, and data of a resource."""


def blocks(resources: bytes) -> Iterator[Block]:
    """Yield the resources up to the first that is damaged."""
    at = 0
    while resources[at : at + 4] == b"8BIM" and at + 7 <= len(resources):
        number = struct.unpack_from(">H", resources, at + 4)[0]
        length = resources[at + 6] + 1
        start = at + 6 + length + length % 2
        if start + 4 > len(resources):
            return
        size = struct.unpack_from(">I", resources, start)[0]
        if start + 4 + size > len(resources):
            return
        yield number, resources[at + 6 : start], resources[start + 4 : start + 4 + size]
        at = start + 4 + size + size % 2


def packed(resource: Block) -> bytes:
    """Return a resource as it is stored."""
    number, name, data = resource
    return (
        b"8BIM"
        + struct.pack(">H", number)
        + name
        + struct.pack(">I", len(data))
        + data
        + (b"\0" * (len(data) % 2))
    )


def iptc_in(resources: bytes) -> bytes | None:
    """Return the IPTC records."""
    return next((data for number, _, data in blocks(resources) if number == IPTC), None)


def with_iptc(resources: bytes, iptc: bytes) -> bytes:
    """Return resources that have IPTC records; their own, if they have some."""
    return (
        resources if iptc_in(resources) is not None else resources + packed((IPTC, b"\0\0", iptc))
    )


def adjusted(resources: bytes, change: Change, lost: list[str]) -> bytes:
    """Return resources for the changed pixels, without thumbnails; damaged ones stay as they are.
    What is removed is appended to `lost`."""
    kept: list[Block] = []
    found = list(blocks(resources))
    for number, name, data in found:
        if number in _THUMBNAILS:
            continue
        if number in _OLD_PIXELS:
            lost.append(f"Photoshop {_OLD_PIXELS[number]}")
            continue
        if number == _EXIF:
            data = exif.adjusted(data, change, [])
        elif number == _XMP:
            data = xmp.adjusted(data, change, [])
        if data is not None:
            kept.append((number, name, data))
    if kept == found:
        return resources
    return b"".join(map(packed, kept))
