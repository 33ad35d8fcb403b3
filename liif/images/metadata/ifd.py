"""Directories of tags, of which TIFF files and EXIF data consist: read, and changed in place.

TIFF 6.0 (1992), sec. 2; BigTIFF has the same structure with 8-byte numbers. Values are bytes in the
byte order of their structure, and tags of unknown meaning are kept as they are.
"""

import mmap
import struct
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

EXIF, GPS, INTEROP = 34665, 34853, 40965
"""Tags that point to a further directory."""
INNER = (EXIF, GPS, INTEROP)

SIZES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8,
    18: 8,
}  # fmt: skip
"""Bytes of a number, by the type of a tag."""
_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}

Order = Literal["<", ">"]


class DamagedError(ValueError):
    """The data have no readable structure of this kind."""


class Tag(NamedTuple):
    """A tag outside of a structure; its value is little-endian."""

    code: int
    kind: int
    length: int
    value: bytes
    inner: tuple["Tag", ...] = ()
    """The tags of the directory that it points to."""

    def integers(self) -> tuple[int, ...]:
        """Return whole numbers; nothing for other types."""
        letter = _FORMATS.get(self.kind)
        return struct.unpack(f"<{self.length}{letter}", self.value) if letter else ()


class Encoding(NamedTuple):
    """Byte order, and whether numbers are those of BigTIFF."""

    order: Order
    is_big: bool = False

    @property
    def offset(self) -> str:
        return self.order + ("Q" if self.is_big else "I")

    @property
    def entry(self) -> int:
        """Bytes of an entry."""
        return 20 if self.is_big else 12

    @property
    def head(self) -> str:
        """Format of the number of entries."""
        return self.order + ("Q" if self.is_big else "H")

    @property
    def inline(self) -> int:
        """Bytes of a value that is in its entry."""
        return 8 if self.is_big else 4


class Entry(NamedTuple):
    """A tag in a structure."""

    at: int
    """Position of the entry."""
    code: int
    kind: int
    length: int
    value_at: int
    size: int
    """Of the value, in bytes; 0 if it lies outside of the data or is of an unknown type."""


class Directory:
    """The tags of a directory; changes are made in the data themselves, where nothing moves."""

    def __init__(self, data: bytearray | mmap.mmap, encoding: Encoding, at: int) -> None:
        """Raises DamagedError if there is no directory at this position. Entries that lie outside
        of the data, and the link after them, count as missing."""
        self.data, self.encoding, self.at = data, encoding, at
        head = struct.calcsize(encoding.head)
        if at < 8 or at + head > len(data):
            raise DamagedError("no directory of tags")
        self.count = struct.unpack_from(encoding.head, data, at)[0]
        whole = min(self.count, (len(data) - at - head) // encoding.entry, 65535)
        self.is_whole = whole == self.count
        self.first = at + head
        self.entries: dict[int, Entry] = {}
        for i in range(whole):
            entry = self._entry(self.first + i * encoding.entry)
            self.is_whole &= entry.size > 0 or entry.length == 0
            self.entries.setdefault(entry.code, entry)
        self.next_at = self.first + self.count * encoding.entry

    def _entry(self, at: int) -> Entry:
        encoding = self.encoding
        form = encoding.order + ("HHQ" if encoding.is_big else "HHI")
        code, kind, count = struct.unpack_from(form, self.data, at)
        size, value_at = SIZES.get(kind, 0) * count, at + struct.calcsize(form)
        if size > encoding.inline:
            value_at = struct.unpack_from(encoding.offset, self.data, value_at)[0]
        if value_at + size > len(self.data):
            size = 0
        return Entry(at, code, kind, count, value_at, size)

    @property
    def next(self) -> int:
        """Position of the next directory; 0 if there is none."""
        if self.next_at + struct.calcsize(self.encoding.offset) > len(self.data):
            return 0
        return struct.unpack_from(self.encoding.offset, self.data, self.next_at)[0]

    def cut(self) -> None:
        """Remove the link to the next directory."""
        if self.next:
            struct.pack_into(self.encoding.offset, self.data, self.next_at, 0)

    def integers(self, code: int) -> tuple[int, ...]:
        """Return a tag's whole numbers; nothing if it is missing, damaged or of another type."""
        entry = self.entries.get(code)
        if entry is None or entry.size == 0 or entry.kind not in _FORMATS or entry.length > 65535:
            return ()
        form = f"{self.encoding.order}{entry.length}{_FORMATS[entry.kind]}"
        return struct.unpack_from(form, self.data, entry.value_at)

    def inner(self, code: int) -> "Directory | None":
        """Return the directory that a tag points to; None if it is missing or damaged."""
        offset = self.integers(code)
        try:
            return Directory(self.data, self.encoding, offset[0]) if offset else None
        except DamagedError:
            self.is_whole = False
            return None

    def set_integers(self, code: int, values: Sequence[int]) -> bool:
        """Replace as many whole numbers as a tag has. Returns whether they fit; one number of 16
        bits becomes one of 32."""
        entry = self.entries[code]
        if entry.kind == 3 and len(values) == 1 and values[0] > 65535:
            struct.pack_into(self.encoding.order + "H", self.data, entry.at + 2, 4)
            entry = self.entries[code] = entry._replace(kind=4, size=4)
        try:
            packed = struct.pack(
                f"{self.encoding.order}{len(values)}{_FORMATS[entry.kind]}", *values
            )
        except (struct.error, KeyError):
            return False
        if len(packed) != entry.size:
            return False
        self.data[entry.value_at : entry.value_at + entry.size] = packed
        return True

    def remove(self, code: int) -> None:
        """Remove a tag; those behind it move up, values stay where they are."""
        entry = self.entries.get(code)
        if entry is None:
            return
        end = self.next_at + struct.calcsize(self.encoding.offset)
        rest = bytes(self.data[entry.at + self.encoding.entry : end])
        self.data[entry.at : entry.at + len(rest)] = rest
        struct.pack_into(self.encoding.head, self.data, self.at, self.count - 1)
        self.__init__(self.data, self.encoding, self.at)

    def tags(self, without: Collection[int] = (), depth: int = 3) -> list[Tag]:
        """Return the tags that can be read, with those of inner directories."""
        found: list[Tag] = []
        left = len(self.data)  # whole values do not overlap, those of a decompression bomb do
        for entry in self.entries.values():
            left -= entry.size
            if entry.code in without or left < 0:
                continue
            if entry.code in INNER:
                inner = self.inner(entry.code) if depth else None
                if inner is not None:
                    further = tuple(inner.tags(depth=depth - 1))
                    found.append(Tag(entry.code, 4, 1, b"", further))
            elif entry.size:
                raw = bytes(self.data[entry.value_at : entry.value_at + entry.size])
                value = swapped(raw, entry.kind, self.encoding.order)
                found.append(Tag(entry.code, entry.kind, entry.length, value))
        return found


def swapped(value: bytes, kind: int, order: Order) -> bytes:
    """Convert a value between a byte order and the little-endian one."""
    unit = 4 if kind in (5, 10) else SIZES[kind]
    if order == "<" or unit == 1:
        return value
    return b"".join(value[i : i + unit][::-1] for i in range(0, len(value), unit))


def open_structure(data: bytearray | mmap.mmap) -> Directory:
    """Return the first directory of a TIFF structure. Raises DamagedError."""
    start = bytes(data[:16])
    orders: dict[bytes, Order] = {b"II": "<", b"MM": ">"}
    order = orders.get(start[:2])
    if order is None or len(start) < 8:
        raise DamagedError("no TIFF structure")
    version = struct.unpack_from(order + "H", start, 2)[0]
    if version == 43 and len(start) == 16:
        return Directory(data, Encoding(order, True), struct.unpack_from(order + "Q", start, 8)[0])
    if version != 42:
        raise DamagedError("no TIFF structure")
    return Directory(data, Encoding(order), struct.unpack_from(order + "I", start, 4)[0])
