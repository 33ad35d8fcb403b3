"""Write directories of tags: new ones, and old ones with further tags."""

import struct
from collections.abc import Iterable

from liif.images.metadata.ifd import INNER, Directory, Encoding, Order, Tag, open_structure, swapped


def packed(tags: Iterable[Tag], encoding: Encoding, at: int, next_at: int = 0) -> bytes:
    """Return a directory for the position `at`, with its values and inner directories behind it,
    and a link to the directory at `next_at`."""
    rows = sorted({tag.code: tag for tag in tags}.values())
    head = struct.pack(encoding.head, len(rows))
    values_at = at + len(head) + len(rows) * encoding.entry + struct.calcsize(encoding.offset)
    entries, values = b"", b""
    for tag in rows:
        position = values_at + len(values)
        position += position % 2
        if tag.code in INNER:
            value = struct.pack(encoding.offset, position)
            stored, kind, count = (
                packed(tag.inner, encoding, position),
                16 if encoding.is_big else 4,
                1,
            )
        else:
            tag = tag if encoding.is_big else _small(tag)
            value, kind, count = swapped(tag.value, tag.kind, encoding.order), tag.kind, tag.length
            stored = value if len(value) > encoding.inline else b""
            value = struct.pack(encoding.offset, position) if stored else value
        entries += struct.pack(
            encoding.order + ("HHQ" if encoding.is_big else "HHI"), tag.code, kind, count
        )
        entries += value.ljust(encoding.inline, b"\0")
        if stored:
            values = values.ljust(position - values_at, b"\0") + stored
    return head + entries + struct.pack(encoding.offset, next_at) + values


def _small(tag: Tag) -> Tag:
    """Return a tag of 64-bit numbers, of BigTIFF, as one of 32 bits, if they fit, or of bytes."""
    letters = {16: ("Q", "I", 4), 17: ("q", "i", 9), 18: ("Q", "I", 4)}
    if tag.kind not in letters:
        return tag
    long, short, kind = letters[tag.kind]
    numbers = struct.unpack(f"<{tag.length}{long}", tag.value)
    try:
        return tag._replace(kind=kind, value=struct.pack(f"<{tag.length}{short}", *numbers))
    except struct.error:
        return tag._replace(kind=7, length=len(tag.value))


def structure(tags: Iterable[Tag], order: Order = "<") -> bytes:
    """Return a TIFF structure of one directory, such as EXIF data."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(order + "I", 8) + packed(tags, Encoding(order), 8)


def with_tags(data: bytes, tags: Iterable[Tag]) -> bytes:
    """Return a TIFF structure with further tags in its first directory, which is written anew at
    the end; all else stays where it is, so that offsets in unknown values remain right."""
    first = open_structure(bytearray(data))
    encoding, end = first.encoding, len(data) + len(data) % 2
    directory = merged(first, tags, end, first.next)
    start = struct.pack(encoding.offset, end)
    place = 8 if encoding.is_big else 4
    return data[:place] + start + data.ljust(end, b"\0")[place + len(start) :] + directory


def merged(directory: Directory, tags: Iterable[Tag], at: int, next_at: int) -> bytes:
    """Return a directory for the position `at` that has the entries of another, whose values stay
    where they are, and further tags, which win."""
    encoding = directory.encoding
    raw = {
        entry.code: bytes(directory.data[entry.at : entry.at + encoding.entry])
        for entry in directory.entries.values()
    }
    new = {tag.code: tag for tag in tags}
    count = len(raw.keys() | new.keys())
    head = struct.calcsize(encoding.head)
    values_at = at + head + count * encoding.entry + struct.calcsize(encoding.offset)
    # A directory of the new tags alone at such a place that its values begin at `values_at`.
    own = head + len(new) * encoding.entry + struct.calcsize(encoding.offset)
    alone = packed(new.values(), encoding, values_at - own)
    entries = {
        struct.unpack_from(encoding.order + "H", alone, head + i * encoding.entry)[0]: alone[
            head + i * encoding.entry : head + (i + 1) * encoding.entry
        ]
        for i in range(len(new))
    }
    rows = b"".join(entry for _, entry in sorted((raw | entries).items()))
    link = struct.pack(encoding.offset, next_at)
    return struct.pack(encoding.head, count) + rows + link + alone[own:]
