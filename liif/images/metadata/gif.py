"""Metadata of GIF files: extension blocks (GIF89a; XMP Specification part 3, sec. 1.1.2)."""

import mmap
from collections.abc import Iterator

from liif.images.metadata.record import Metadata, Piece

_COMMENT, _APPLICATION, _TEXT, _IMAGE = 0xFE, 0xFF, 0x01, 0x2C
_XMP, _ICC = b"XMP DataXMP", b"ICCRGBG1012"
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_TRAILER = b"\1" + bytes(range(255, -1, -1)) + b"\0"
"""What follows XMP, which is not cut into blocks: readers that expect blocks find their end."""


def _table(flags: int) -> int:
    """Return the bytes of a colour table."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _end_of_blocks(data: bytes | mmap.mmap, at: int) -> int:
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _joined(blocks: bytes) -> bytes:
    """Return the content of blocks of up to 255 bytes."""
    parts, at = list[bytes](), 0
    while at < len(blocks) and (size := blocks[at]):
        parts.append(blocks[at + 1 : at + 1 + size])
        at += size + 1
    return b"".join(parts)


def _extensions(data: bytes | mmap.mmap) -> Iterator[tuple[int, bytes]]:
    """Yield the label and the blocks of each extension."""
    at = 13 + _table(data[10])
    while at + 2 < len(data):
        if data[at] == _IMAGE and at + 10 < len(data):
            at = _end_of_blocks(data, at + 11 + _table(data[at + 9]))
        elif data[at] == 0x21:
            end = _end_of_blocks(data, at + 2)
            yield data[at + 1], bytes(data[at + 2 : end])
            at = end
        else:
            return


def read(data: bytes | mmap.mmap) -> Metadata:
    """Return the metadata of a GIF file."""
    comments: list[bytes] = []
    pieces: list[Piece] = []
    dropped: list[str] = []
    xmp = icc = None
    for label, blocks in _extensions(data):
        if label == _COMMENT:
            comments.append(_joined(blocks))
        elif label == _TEXT:
            dropped.append("text blocks")
        elif label == _APPLICATION and blocks[:1] == b"\x0b":
            kind = blocks[1:12]
            if kind == _XMP and blocks.endswith(_TRAILER):
                xmp = xmp or blocks[12 : -len(_TRAILER)]
            elif kind == _ICC:
                icc = icc or _joined(blocks[12:])
            elif kind not in _LOOPS:
                pieces.append(Piece(kind, blocks[12:]))
    return Metadata(
        form="GIF", icc=icc, xmp=xmp, comments=tuple(filter(None, comments)), pieces=tuple(pieces),
        dropped=tuple(dict.fromkeys(dropped)),
    )  # fmt: skip


def embed(data: bytes, metadata: Metadata, lost: list[str]) -> bytes:
    """Return a GIF file as Pillow writes it, with metadata; what does not fit goes to `lost`."""
    found: list[bytes] = []
    if metadata.icc:
        found.append(_application(_ICC) + _cut(metadata.icc))
    if metadata.xmp and b"\0" in metadata.xmp:  # would end the block
        lost.append("XMP (not UTF-8)")
    elif metadata.xmp:
        found.append(_application(_XMP) + metadata.xmp + _TRAILER)
    found += [_application(piece.kind) + piece.data for piece in metadata.pieces]
    found += [bytes([0x21, _COMMENT]) + _cut(comment) for comment in metadata.comments]
    if not found:
        return data
    start = 13 + _table(data[10])
    while data[start : start + 2] == b"\x21\xff":  # the number of loops stays the first
        start = _end_of_blocks(data, start + 2)
    return b"GIF89a" + data[6:start] + b"".join(found) + data[start:]


def _application(kind: bytes) -> bytes:
    return bytes([0x21, _APPLICATION, 11]) + kind


def _cut(content: bytes) -> bytes:
    blocks = [content[i : i + 255] for i in range(0, len(content), 255)]
    return b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
