"""Write PNG files strip by strip, also larger than memory (PNG, third edition, W3C)."""

import struct
import zlib
from collections.abc import Iterable
from typing import IO

import numpy as np
import numpy.typing as npt

from liif.core.sizes import Size

Bytes = npt.NDArray[np.uint8]
ImageArray = npt.NDArray[np.uint8 | np.uint16]
"""Pixels of 8 or 16 bits per channel, (rows, columns, channels) unless stated otherwise."""

LEVEL = 4
"""Of compression. A third of the time of zlib's default, 6 (0.36 instead of 1.08 s for 2048×2048
pixels of a photograph), for files that are 6 % larger."""

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by number of channels


class PngWriter:
    """Writes an image of 8 or 16 bits from top to bottom to an open binary file."""

    def __init__(
        self, file: IO[bytes], size: Size, channels: int = 3, bits: int = 8,
        *, chunks: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:  # fmt: skip
        """Write the header.

        Args:
            file: the file to write to.
            size: (H, W), each below 2³¹.
            channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
            bits: 8 or 16 per channel.
            chunks: kind and content of further chunks, which are written before the pixels.
        """
        H, W = size
        self.file, self.deflate = file, zlib.compressobj(LEVEL)
        self.above = np.zeros((1, W, channels * bits // 8), np.uint8)
        file.write(b"\x89PNG\r\n\x1a\n")
        head = struct.pack(">IIBBBBB", W, H, bits, _COLOUR_TYPES[channels], 0, 0, 0)
        self._chunk(b"IHDR", head)
        for kind, content in chunks:
            self._chunk(kind, content)

    def write(self, strip: ImageArray) -> None:
        """Write the next rows, uint8 or uint16 (rows, W, channels)."""
        big_endian = strip.astype(strip.dtype.newbyteorder(">"), copy=False)
        in_bytes = np.ascontiguousarray(big_endian).view(np.uint8)
        for start in range(0, len(in_bytes), 64):  # blocks that fit the processor's cache
            rows = in_bytes[start : start + 64]
            self._chunk(b"IDAT", self.deflate.compress(_filtered(rows, self.above)))
            self.above = rows[-1:]

    def finish(self) -> None:
        """Complete the file after its last row."""
        self._chunk(b"IDAT", self.deflate.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, data: bytes) -> None:
        if data or kind != b"IDAT":
            self.file.write(struct.pack(">I", len(data)) + kind + data)
            self.file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def _filtered(rows: Bytes, above: Bytes) -> bytes:
    """Filter rows, uint8 (rows, W, bytes of a pixel): each row is replaced by its difference from
    its left, upper or Paeth neighbours, whichever has the least sum of absolute values, with the
    number of that filter in front (PNG, sec. 9.2 and 12.7)."""
    up = np.concatenate([above, rows[:-1]])
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, 1:], corner[:, 1:] = rows[:, :-1], up[:, :-1]
    filters = {1: rows - left, 2: rows - up, 4: rows - _paeth(left, up, corner)}
    sums = [np.abs(d.view(np.int8).astype(np.int16)).sum(axis=(1, 2)) for d in filters.values()]
    best = np.argmin(sums, axis=0)
    differences = np.choose(best[:, None, None], list(filters.values()))
    numbers = np.array(list(filters), np.uint8)[best]
    return np.column_stack([numbers, differences.reshape(len(rows), -1)]).tobytes()


def _paeth(left: Bytes, up: Bytes, corner: Bytes) -> Bytes:
    """Return the neighbour nearest to left + up - corner; ties are resolved in that order."""
    a, b, c = (part.astype(np.int16) for part in (left, up, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
    return nearest.astype(np.uint8)
