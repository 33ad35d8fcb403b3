"""Metadata of WebP files: chunks of a RIFF container (RFC 9649)."""

import mmap
import struct
from collections.abc import Iterator

from liif.images.metadata.record import Metadata, Piece

_FLAGS = {b"ICCP": 0x20, b"ALPH": 0x10, b"EXIF": 0x08, b"XMP ": 0x04, b"ANIM": 0x02}
"""Bits of VP8X that say which chunks there are."""
_PIXELS = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")


def chunks(data: bytes | mmap.mmap) -> Iterator[Piece]:
    """Yield the chunks of a file up to the first that is cut off."""
    at = 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        if at + 8 + size > len(data):
            return
        yield Piece(kind, bytes(data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2


def read(data: bytes | mmap.mmap) -> Metadata:
    """Return the metadata of a WebP file."""
    found: dict[bytes, bytes] = {}
    pieces: list[Piece] = []
    for chunk in chunks(data):
        if chunk.kind in (b"ICCP", b"EXIF", b"XMP "):
            found.setdefault(chunk.kind, chunk.data)
        elif chunk.kind not in _PIXELS:
            pieces.append(chunk)
    exif = found.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
    return Metadata(
        form="WEBP", icc=found.get(b"ICCP") or None, exif=exif or None,
        xmp=found.get(b"XMP ") or None, pieces=tuple(pieces),
    )  # fmt: skip


def embed(data: bytes, metadata: Metadata, size: tuple[int, int]) -> bytes:
    """Return a WebP file of (H, W) as Pillow writes it, with metadata."""
    old = list(chunks(data))
    new = {b"ICCP": metadata.icc, b"EXIF": metadata.exif, b"XMP ": metadata.xmp}
    after = [Piece(kind, content) for kind, content in new.items() if content]
    after += metadata.pieces
    if not after:
        return data
    pixels = [chunk for chunk in old if chunk.kind in _PIXELS and chunk.kind != b"VP8X"]
    head = next((chunk.data for chunk in old if chunk.kind == b"VP8X"), None)
    if head is None:
        lossless = next((chunk.data for chunk in pixels if chunk.kind == b"VP8L"), bytes(5))
        alpha = _FLAGS[b"ALPH"] if lossless[4] & 0x10 else 0
        sides = [(side - 1).to_bytes(3, "little") for side in (size[1], size[0])]
        head = struct.pack("<I", alpha) + b"".join(sides)
    flags = head[0]
    for chunk in after:
        flags |= _FLAGS.get(chunk.kind, 0)
    ordered = [Piece(b"VP8X", bytes([flags]) + head[1:])]
    ordered += [chunk for chunk in after if chunk.kind == b"ICCP"]
    ordered += [*pixels, *(chunk for chunk in after if chunk.kind != b"ICCP")]
    body = b"WEBP" + b"".join(
        chunk.kind + struct.pack("<I", len(chunk.data)) + chunk.data + bytes(len(chunk.data) % 2)
        for chunk in ordered
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body
