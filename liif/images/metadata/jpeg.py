"""Metadata of JPEG files: segments before the pixels (ITU-T T.81, JFIF 1.02, XMP part 3)."""

import hashlib
import mmap
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Literal

from liif.images.metadata import exif as exif_data
from liif.images.metadata import xmp
from liif.images.metadata.exif import open_exif, resolution_in
from liif.images.metadata.ifd import DamagedError
from liif.images.metadata.record import Metadata, Piece, Resolution

_MOST = 65533
"""Bytes of a segment."""
ICC = b"ICC_PROFILE\0"
_JFIF, _JFXX, _EXIF = b"JFIF\0", b"JFXX\0", b"Exif\0\0"
_PHOTOSHOP, _ADOBE = b"Photoshop 3.0\0", b"Adobe"
_DROPPED = {
    b"MPF\0": "index of further pictures",
    b"urn:iso:std:iso:ts:21496": "gain map",
    b"JP": "content credentials",  # signatures of the old pixels, in APP11
}
_APP0, _APP1, _APP2, _APP13, _COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xFE


def segments(data: bytes | mmap.mmap) -> Iterator[tuple[int, int, bytes]]:
    """Yield the marker, position and content of each segment before the pixels."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 1 or 0xD0 <= marker <= 0xD8:
            at += 2
        elif marker in (0xD9, 0xDA):
            return
        else:
            end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
            if end > len(data) or end < at + 4:
                return
            yield marker, at, bytes(data[at + 4 : end])
            at = end


def read(data: bytes | mmap.mmap) -> Metadata:
    """Return the metadata of a JPEG file."""
    density: Resolution | None = None
    exif, packet, resources = b"", b"", b""
    icc: dict[int, bytes] = {}
    parts: dict[bytes, dict[int, bytes]] = {}
    comments: list[bytes] = []
    pieces: list[Piece] = []
    dropped: list[str] = []
    for marker, _, content in segments(data):
        is_app = _APP0 <= marker <= 0xEF
        reason = next((name for key, name in _DROPPED.items() if content.startswith(key)), None)
        if marker == _COMMENT:
            comments.append(content)
        elif not is_app or (marker == _APP0 and content.startswith(_JFXX)):
            continue
        elif marker == _APP0 and content.startswith(_JFIF):
            density = _density(content)
        elif marker == _APP1 and content.startswith(_EXIF):
            if not exif or content[6:10] not in (b"II*\0", b"MM\0*"):
                exif += content[6:]  # some programs continue long EXIF data in further segments
        elif marker == _APP1 and content.startswith(xmp.STANDARD):
            packet = packet or content[len(xmp.STANDARD) :]
        elif marker == _APP1 and content.startswith(xmp.EXTENDED):
            content = content[len(xmp.EXTENDED) :]
            if len(content) >= 40:
                guid, at = content[:32], struct.unpack_from(">I", content, 36)[0]
                parts.setdefault(guid, {})[at] = content[40:]
        elif marker == _APP2 and content.startswith(ICC):
            icc[content[12] if len(content) > 13 else 0] = content[14:]
        elif marker == _APP13 and content.startswith(_PHOTOSHOP):
            resources += content[len(_PHOTOSHOP) :]
        elif reason is not None:
            dropped.append(reason)
        elif not content.startswith(_ADOBE):
            pieces.append(Piece(bytes([marker]), content))
    profile = b"".join(part for _, part in sorted(icc.items()))
    if sorted(icc) != list(range(1, len(icc) + 1)):
        dropped.append("ICC profile (damaged)")
        profile = b""
    whole, damage = _with_extended(packet, parts)
    dropped += damage
    if density is None or not density.unit:
        with suppress(DamagedError):
            density = resolution_in(open_exif(exif)) or density
    return Metadata(
        form="JPEG", resolution=density, icc=profile or None, exif=exif or None,
        xmp=whole or None, photoshop=resources or None, comments=tuple(comments),
        pieces=tuple(pieces), dropped=tuple(dict.fromkeys(dropped)),
    )  # fmt: skip


def _density(content: bytes) -> Resolution | None:
    if len(content) < 12:
        return None
    unit, x, y = struct.unpack_from(">BHH", content, 7)
    units: dict[int, Literal["", "inch", "cm"]] = {0: "", 1: "inch", 2: "cm"}
    if unit not in units or 0 in (x, y) or (unit, x, y) == (0, 1, 1):
        return None
    return Resolution(Fraction(x), Fraction(y), units[unit])


def _with_extended(packet: bytes, parts: dict[bytes, dict[int, bytes]]) -> tuple[bytes, list[str]]:
    """Return the packet with its extended part, and what cannot be kept."""
    found = re.search(rb"HasExtendedXMP(?:\s{0,9}=\s{0,9}[\"']|>)\s{0,9}(\w{32})", packet)
    if found is None:
        return packet, ["extended XMP (of no packet)"] if parts else []
    extended = b"".join(part for _, part in sorted(parts.get(found[1], {}).items()))
    is_whole = hashlib.md5(extended, usedforsecurity=False).hexdigest().upper().encode() == found[1]
    joined = xmp.joined(packet, extended) if is_whole else None
    return (packet, ["extended XMP (damaged)"]) if joined is None else (joined, [])


def embed(data: bytes, metadata: Metadata, lost: list[str]) -> bytes:
    """Return a JPEG file as Pillow writes it, with metadata; what does not fit goes to `lost`."""
    new: list[tuple[int, bytes]] = []
    jfif = _jfif(metadata.resolution, lost)
    if jfif:
        new.append((_APP0, jfif))
    if exif := metadata.exif:
        try:
            if len(exif) > _MOST - len(_EXIF):
                exif = exif_data.shortened(exif, _MOST - len(_EXIF), lost)
            new.append((_APP1, _EXIF + exif))
        except DamagedError:
            lost.append("EXIF (too large)")
    if metadata.xmp:
        new += _xmp_segments(metadata.xmp)
    if metadata.photoshop:
        for part in _cut(metadata.photoshop, _MOST - len(_PHOTOSHOP)):
            new.append((_APP13, _PHOTOSHOP + part))
    if metadata.icc:
        parts = _cut(metadata.icc, _MOST - len(ICC) - 2)
        if len(parts) > 255:
            lost.append("ICC profile (too large)")
            parts = []
        for i, part in enumerate(parts):
            new.append((_APP2, ICC + bytes([i + 1, len(parts)]) + part))
    new += [(piece.kind[0], piece.data) for piece in metadata.pieces]
    for comment in metadata.comments:
        if len(comment) > _MOST:
            lost.append("comment (too large)")
        else:
            new.append((_COMMENT, comment))
    is_jfif = data[2:4] == b"\xff\xe0"
    rest = 4 + struct.unpack_from(">H", data, 4)[0] if is_jfif else 2
    start = data[:2] if jfif else data[:rest]
    packed = [
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in new
    ]
    return start + b"".join(packed) + data[rest:]


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def _jfif(resolution: Resolution | None, lost: list[str]) -> bytes | None:
    """Return the segment that states a resolution, in whole numbers of 16 bits."""
    if resolution is None:
        return None
    unit = 0
    x, y = resolution.x, resolution.y
    if resolution.unit:  # the unit in which the numbers are nearer to whole ones
        inch, cm = resolution.per("inch"), resolution.per("cm")
        distance = [max(abs(v - round(v)) / v for v in pair) for pair in (inch, cm)]
        unit, (x, y) = (1, inch) if distance[0] <= distance[1] else (2, cm)
    elif max(x, y) > 65535 or x.denominator * y.denominator > 1:
        ratio = (x / y).limit_denominator(255)
        x, y = Fraction(ratio.numerator), Fraction(ratio.denominator)
    if not (1 <= round(x) <= 65535 and 1 <= round(y) <= 65535):
        lost.append("resolution")
        return None
    return _JFIF + struct.pack(">BBBHHBB", 1, 1, unit, round(x), round(y), 0, 0)


def _xmp_segments(packet: bytes) -> list[tuple[int, bytes]]:
    """Return one segment, or as many as a packet of more than 64 kB needs."""
    most = _MOST - len(xmp.STANDARD)
    if len(packet) > most:
        packet = xmp.without_padding(packet)
    if len(packet) <= most:
        return [(_APP1, xmp.STANDARD + packet)]
    packet, extended = xmp.split(packet)
    guid = hashlib.md5(extended, usedforsecurity=False).hexdigest().upper().encode()
    found = [(_APP1, xmp.STANDARD + packet)]
    at = 0
    for part in _cut(extended, 65400):
        head = guid + struct.pack(">II", len(extended), at)
        found.append((_APP1, xmp.EXTENDED + head + part))
        at += len(part)
    return found
