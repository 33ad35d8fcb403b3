"""Hide damaged metadata from decoders, which else refuse a file whose pixels are fine.

Pillow checks texts, profiles and numbers of PNG and JPEG files before it decodes their pixels, and
refuses texts that are long or are decompression bombs.
"""

import io
import mmap
import struct
from typing import IO

from liif.images.metadata import jpeg, png

_SIZES = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"cICP": 4}
_PHOTOSHOP = b"Photoshop 3.0\0"
_TEXT_BYTES = 2**25
"""Of all texts; Pillow allows 64 MiB."""


def without_damaged_metadata(file: IO[bytes]) -> IO[bytes]:
    """Return an open file, at its start, as it is; or, if it is a PNG or JPEG file with metadata
    that decoders refuse, a copy in memory without those."""
    start = file.read(8)
    file.seek(0)
    if start != png.START and start[:2] != b"\xff\xd8":
        return file
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        kept = _png_spans(data) if start == png.START else _jpeg_spans(data)
        if kept is None:
            return file
        return io.BytesIO(b"".join(data[at:end] for at, end in kept))


def _png_spans(data: mmap.mmap) -> list[tuple[int, int]] | None:
    """Return the first and last + 1 byte of what is kept; None if that is all."""
    kept, at, texts, frames = [(0, 8)], 8, 0, 0
    is_whole = True
    animation: tuple[int, int] | None = None
    for kind, start, end, is_right in png.chunks(data):
        at = end + 4
        frames += kind == b"fcTL"
        is_kept = is_right or not kind[:1].islower()
        if kind == b"acTL":
            animation = (len(kept), _frames(data[start:end]))
        elif is_kept and kind[:1].islower():
            texts += (end - start) * (kind in png.TEXTS)
            is_kept = _is_sound(kind, data[start:end]) and texts <= _TEXT_BYTES
        is_whole &= is_kept
        if is_kept:
            kept.append((start - 8, at))
    if animation is not None and animation[1] != frames:  # no animation, then
        del kept[animation[0]]
        is_whole = False
    return None if is_whole else [*kept, (at, len(data))]


def _frames(content: bytes) -> int:
    return struct.unpack_from(">I", content)[0] if len(content) == 8 else -1


def _is_sound(kind: bytes, content: bytes) -> bool:
    if kind in _SIZES:
        return len(content) == _SIZES[kind]
    if kind == b"iCCP":
        rest = content.partition(b"\0")[2]
        return rest[:1] == b"\0" and bool(png.inflated(rest[1:]))
    return kind not in png.TEXTS or png.is_readable(kind, content)


def _has_whole_names(content: bytes) -> bool:
    """Return whether no block of Photoshop's data ends between its number and its name, where
    Pillow fails."""
    at = len(_PHOTOSHOP)
    while content[at : at + 4] == b"8BIM":
        name = at + 6
        if name >= len(content):
            return False
        data = name + 1 + content[name]  # even with the name and its length
        data += data % 2
        if data + 4 > len(content):
            return True
        at = data + 4 + struct.unpack_from(">I", content, data)[0]
        at += at % 2
    return True


def _jpeg_spans(data: mmap.mmap) -> list[tuple[int, int]] | None:
    kept, is_whole, at = [(0, 2)], True, 2
    for marker, start, content in jpeg.segments(data):
        end = start + 4 + len(content)
        is_sound = True
        if marker == 0xE2 and content.startswith(jpeg.ICC):
            is_sound = len(content) > len(jpeg.ICC) + 2
        elif content.startswith((b"JFIF", b"Adobe")):
            is_sound = len(content) >= 12
        elif marker == 0xED and content.startswith(_PHOTOSHOP):
            is_sound = _has_whole_names(content)
        is_whole &= is_sound
        kept.append((at, end if is_sound else start))
        at = end
    return None if is_whole else [*kept, (at, len(data))]
