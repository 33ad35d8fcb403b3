"""Metadata of PNG files: chunks (PNG, third edition, W3C; PNGEXT 1.5)."""

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction

from liif.images.metadata.record import Change, Metadata, Piece, Resolution

START = b"\x89PNG\r\n\x1a\n"
_COLOUR = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"mDCV": 24, b"cLLI": 8}
"""Chunks about colour, with their sizes."""
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT")
_KEPT = {b"tIME": 7, b"oFFs": 9, b"sPLT": None, b"sCAL": None, b"pCAL": None}
"""Further chunks, with their sizes, if all are as large."""
_RAW_PROFILE = b"Raw profile type "
_XMP = b"XML:com.adobe.xmp"
_MOST = 2**26
"""Bytes of a decompressed text or profile that are read."""
_MOST_COMPRESSED, _MOST_TEXT = 2**20, 2**24
"""Bytes of a compressed and of another text or profile that are written: with more, some programs
refuse the picture (Pillow 1 MiB compressed, 64 MiB in all)."""


def chunks(data: bytes | mmap.mmap) -> Iterator[tuple[bytes, int, int, bool]]:
    """Yield the kind of each chunk, where its content begins and ends, and whether its checksum is
    right, which is not computed for pixels."""
    at = len(START)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        start, end = at + 8, at + 8 + length
        if end + 4 > len(data):
            return
        is_right = kind in (b"IDAT", b"fdAT") or (
            zlib.crc32(data[at + 4 : end]) == struct.unpack_from(">I", data, end)[0]
        )
        yield kind, start, end, is_right
        at = end + 4


def read(data: bytes | mmap.mmap) -> Metadata:
    """Return the metadata of a PNG file."""
    found = Metadata(form="PNG")
    dropped: list[str] = []
    colour: list[Piece] = []
    texts: list[Piece] = []
    pieces: list[Piece] = []
    for kind, start, end, is_right in chunks(data):
        if kind in _PIXELS:
            continue
        name = kind.decode("latin-1") if re.fullmatch(rb"[A-Za-z]{4}", kind) else "a chunk"
        size = {**_COLOUR, **_KEPT, b"pHYs": 9}.get(kind)
        if not is_right or (size is not None and end - start != size):
            dropped.append(f"{name} (damaged)")
            continue
        content = bytes(data[start:end])
        if kind in _COLOUR:
            colour.append(Piece(kind, content))
        elif kind in TEXTS:
            texts.append(Piece(kind, content))
        elif kind == b"eXIf":
            found = found._replace(exif=content.removeprefix(b"Exif\0\0"))
        elif kind == b"pHYs":
            found = found._replace(resolution=_resolution(content))
        elif kind == b"iCCP":
            profile = inflated(content.partition(b"\0")[2][1:], _MOST)
            found = found._replace(icc=profile or None)
            dropped += [] if profile else ["ICC profile (damaged)"]
        elif kind in _KEPT or kind[3:].islower():  # safe to copy, whatever it means
            pieces.append(Piece(kind, content))
        else:
            dropped.append(name)
    found = _with_texts(found._replace(colour=tuple(colour), pieces=tuple(pieces)), texts)
    return found._replace(dropped=tuple(dict.fromkeys((*dropped, *found.dropped))))


def _resolution(content: bytes) -> Resolution | None:
    x, y, unit = struct.unpack(">IIB", content)
    if 0 in (x, y) or unit > 1:
        return None
    if unit == 0:
        return Resolution(Fraction(x), Fraction(y), "")
    return Resolution(Fraction(x, 100), Fraction(y, 100), "cm")


def inflated(data: bytes, most: int = _MOST_COMPRESSED) -> bytes:
    """Decompress; nothing if the data are damaged or become more than `most` bytes."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, most)
    except zlib.error:
        return b""
    return content if stream.eof else b""


def text_of(chunk: Piece) -> tuple[bytes, str | None]:
    """Return the keyword of a text and the text; None if it is damaged."""
    keyword, _, rest = chunk.data.partition(b"\0")
    if chunk.kind == b"tEXt":
        return keyword, rest.decode("latin-1")
    if chunk.kind == b"zTXt":
        text = inflated(rest[1:], _MOST)
        return keyword, text.decode("latin-1") if text or not rest[1:] else None
    fields = rest[2:].split(b"\0", 2)
    if len(rest) < 2 or len(fields) < 3:
        return keyword, None
    text = inflated(fields[2], _MOST) if rest[0] else fields[2]
    return keyword, text.decode("utf-8", "surrogateescape") if text or not fields[2] else None


def is_readable(kind: bytes, content: bytes) -> bool:
    """Return whether other programs read a text, and the picture with it."""
    rest = content.partition(b"\0")[2]
    if kind == b"zTXt":
        return rest[:1] == b"\0" and bool(inflated(rest[1:]))
    if kind == b"iTXt":
        fields = rest[2:].split(b"\0", 2)
        if len(fields) < 3 or rest[:2] not in (b"\0\0", b"\1\0"):
            return False
        return not rest[0] or bool(inflated(fields[2]))
    return True


def _with_texts(found: Metadata, texts: list[Piece]) -> Metadata:
    """Sort texts into those that are XMP, EXIF or IPTC, and others."""
    kept: list[Piece] = []
    comments: list[bytes] = []
    for chunk in texts:
        keyword, text = chunk.data.partition(b"\0")[0], None
        if keyword in (_XMP, b"Comment") or keyword.startswith(_RAW_PROFILE):
            _, text = text_of(chunk)
        if keyword == _XMP and text is not None:
            if found.xmp is None:
                found = found._replace(xmp=text.encode("utf-8", "surrogateescape"))
            continue
        profile = _raw_profile(keyword, text or "")
        if not is_readable(chunk.kind, chunk.data):
            name = f"text {keyword.decode('latin-1')[:79]} (damaged or too large)"
            found = found._replace(dropped=(*found.dropped, name))
            continue
        if keyword.endswith(b" xmp") and profile:
            found = found._replace(xmp=found.xmp or profile)
            continue
        if keyword.endswith((b" exif", b" APP1")) and profile:
            if found.exif is None:
                found = found._replace(exif=profile.removeprefix(b"Exif\0\0"))
            continue
        if profile.startswith(b"8BIM"):
            found = found._replace(photoshop=profile)
        elif profile.startswith(b"\x1c"):
            found = found._replace(iptc=profile)
        elif keyword == b"Comment" and text is not None:
            comments.append(text.encode("utf-8", "surrogateescape"))
        kept.append(chunk)
    return found._replace(texts=tuple(kept), comments=tuple(comments))


def _raw_profile(keyword: bytes, text: str) -> bytes:
    """Return the bytes of a profile that ImageMagick has written as hexadecimal text."""
    if not keyword.startswith(_RAW_PROFILE):
        return b""
    digits = "".join(text.split("\n")[3:])
    return bytes.fromhex(digits) if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", digits) else b""


def chunks_of(metadata: Metadata, lost: list[str]) -> list[Piece]:
    """Return the chunks to write before the pixels; what does not fit goes to `lost`."""
    found = list(metadata.colour)
    if metadata.icc and len(metadata.icc) > _MOST_COMPRESSED:
        lost.append("ICC profile (too large)")
    elif metadata.icc:
        found.append(Piece(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.resolution is not None:
        found += _phys(metadata.resolution, lost)
    if metadata.exif:
        found.append(Piece(b"eXIf", metadata.exif))
    found += metadata.pieces
    if metadata.xmp and len(metadata.xmp) > _MOST_TEXT:
        lost.append("XMP (too large)")
    elif metadata.xmp:
        found.append(Piece(b"iTXt", _XMP + b"\0\0\0\0\0" + metadata.xmp))
    found += metadata.texts
    keywords = {chunk.data.partition(b"\0")[0] for chunk in metadata.texts}
    resources = metadata.photoshop
    if resources and not any(each.endswith((b" iptc", b" 8bim")) for each in keywords):
        digits = resources.hex()
        lines = "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
        text = f"\niptc\n{len(resources):8}\n{lines}\n".encode()
        if len(text) > _MOST_COMPRESSED:
            lost.append("IPTC (too large)")
        else:
            found.append(Piece(b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(text)))
    for comment in metadata.comments if b"Comment" not in keywords else ():
        comment = comment.rstrip(b"\0")
        if b"\0" in comment or len(comment) > _MOST_TEXT:
            lost.append("comment (binary or too large)")
        elif not comment.isascii() and _is_utf8(comment):
            found.append(Piece(b"iTXt", b"Comment\0\0\0\0\0" + comment))
        else:
            found.append(Piece(b"tEXt", b"Comment\0" + comment))
    return found


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _phys(resolution: Resolution, lost: list[str]) -> list[Piece]:
    x, y = resolution.per("m") if resolution.unit else (resolution.x, resolution.y)
    if not resolution.unit and x.denominator * y.denominator > 1:
        ratio = (x / y).limit_denominator(10**4)
        x, y = Fraction(ratio.numerator), Fraction(ratio.denominator)
    if not (1 <= round(x) < 2**31 and 1 <= round(y) < 2**31):
        lost.append("resolution")
        return []
    content = struct.pack(">IIB", round(x), round(y), int(bool(resolution.unit)))
    return [Piece(b"pHYs", content)]


def adjusted(pieces: tuple[Piece, ...], change: Change) -> tuple[Piece, ...]:
    """Return chunks for the changed pixels: those with positions in pixels and sizes of pixels."""
    return tuple(_adjusted(piece, change) for piece in pieces)


def _adjusted(piece: Piece, change: Change) -> Piece:
    vertical, horizontal = change.scale
    if piece.kind == b"oFFs":
        x, y, unit = struct.unpack(">iiB", piece.data)
        if unit == 0:  # in pixels
            x = round((x + change.window.left) * horizontal)
            y = round((y + change.window.top) * vertical)
            if max(abs(x), abs(y)) < 2**31:
                piece = Piece(piece.kind, struct.pack(">iiB", x, y, unit))
    elif piece.kind == b"sCAL":
        number = rb"(\+?[0-9.]{1,20}(?:[eE][+-]?[0-9]{1,2})?)"
        if found := re.fullmatch(rb"([\x01\x02])" + number + rb"\0" + number, piece.data):
            try:
                x, y = float(found[2]), float(found[3])
            except ValueError:
                return piece
            x, y = (y, x) if change.is_turned else (x, y)
            text = f"{x / horizontal:.9g}\0{y / vertical:.9g}"
            piece = Piece(piece.kind, found[1] + text.encode())
    return piece


def embed(data: bytes, metadata: Metadata, lost: list[str]) -> bytes:
    """Return a PNG file as Pillow writes it, such as an animation, with metadata."""
    start = len(START) + 25  # after IHDR
    found = [packed(chunk) for chunk in chunks_of(metadata, lost)]
    return data[:start] + b"".join(found) + data[start:]


def packed(chunk: Piece) -> bytes:
    """Return a chunk as it is stored."""
    check = zlib.crc32(chunk.data, zlib.crc32(chunk.kind))
    return struct.pack(">I", len(chunk.data)) + chunk.kind + chunk.data + struct.pack(">I", check)
