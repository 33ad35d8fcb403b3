"""A record inside an image file of what made it, and what tells one input file from another.

The record is one line, `liif-result: {JSON}`. It is stored where the format has a place for data of
an application, and never in a text that the picture had:

- PNG: a chunk `liIF` before the last one (private, and dropped by editors that change pixels);
- JPEG: an APP15 segment;
- WebP: a chunk `LIIF` at the end of the RIFF container;
- AVIF, HEIC and JPEG 2000 in boxes: a `free` box at the end (ISO/IEC 14496-12, 8.1.2);
- PPM: a comment in the header;
- others, such as TIFF, BMP and GIF: after the end, where decoders do not read.
"""

import hashlib
import json
import re
import stat
import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

OriginRecord = dict[str, Any]
"""What made a result: JSON values."""

_MARK = b"liif-result: "
_RECORD = re.compile(_MARK + rb"(\{[^\n]*\})\n")
_HEAD, _TAIL = 2**18, 2**14
"""Bytes at both ends of a file where records are: a JPEG has it after its first segments."""
_LONGEST = 2**13
"""Bytes of a record."""


def embed_record(file: Path, record: Mapping[str, Any]) -> None:
    """Write a record into a complete image file."""
    data = _MARK + json.dumps(record, separators=(",", ":")).encode() + b"\n"
    if len(data) > _LONGEST:
        raise ValueError(f"{file}: a record of {len(data)} bytes")
    with file.open("rb+") as image:
        start, end = image.read(16), image.seek(0, 2)
        if start.startswith(b"\x89PNG"):
            image.seek(end - 12)
            last = image.read(12)  # IEND
            image.seek(end - 12)
            chunk = b"liIF" + data
            image.write(struct.pack(">I", len(data)) + chunk)
            image.write(struct.pack(">I", zlib.crc32(chunk)) + last)
        elif start.startswith(b"\xff\xd8"):
            # JFIF and EXIF must be the first segment.
            first = 4 + int.from_bytes(start[4:6], "big") if start[3] in (0xE0, 0xE1) else 2
            _insert(file, first, b"\xff\xef" + struct.pack(">H", 2 + len(data)) + data)
        elif start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            padded = data + b"\n" * (len(data) % 2)
            image.write(b"LIIF" + struct.pack("<I", len(padded)) + padded)
            image.seek(4)
            image.write(struct.pack("<I", end + len(padded)))  # without the first 8 bytes
        elif start[4:8] in (b"ftyp", b"jP  ", b"JXL "):
            image.write(struct.pack(">I", 8 + len(data)) + b"free" + data)
        elif start[:2] in (b"P5", b"P6"):
            _insert(file, 2, b"\n# " + data[:-1])
        else:
            image.write(data)


def _insert(file: Path, position: int, data: bytes) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:position] + data + content[position:])


def read_record(file: Path) -> OriginRecord | None:
    """Return the record of a result; None if the file has none, or cannot be read."""
    with suppress(OSError, ValueError, RecursionError), _opened(file) as image:
        head = image.read(_HEAD)
        image.seek(max(image.seek(0, 2) - _TAIL, 0))
        # A copy of the input's own record may come before it in a PNG, after it in a JPEG.
        found = _RECORD.findall(image.read())[-1:] or _RECORD.findall(head)[:1]
        record = json.loads(found[0]) if found else None
        return cast(OriginRecord, record) if isinstance(record, dict) else None
    return None


def fingerprint(file: Path) -> str:
    """Return what tells the content of an image file from others: a hash of its size and of both
    ends, which is fast for large files. Raises OSError."""
    part = 2**16
    with _opened(file) as image:
        start = image.read(part)
        size = image.seek(0, 2)
        image.seek(max(size - part, 0))
        return _short(b"%d " % size + start + image.read())


def _opened(file: Path) -> IO[bytes]:
    """Open a file to read it. Raises OSError, also for pipes and devices, which may block."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError(f"{file}: is no file")
    return file.open("rb")


def name_print(file: Path) -> str:
    """Return a hash of a file's name, by which a result knows it without telling it to others."""
    return _short(file.name.encode("utf-8", "surrogateescape"))


def file_print(file: Path) -> str:
    """Return a hash of all of a file, such as a checkpoint. Raises OSError."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while part := content.read(2**20):
            digest.update(part)
    return digest.hexdigest()[:16]


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
