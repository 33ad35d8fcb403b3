"""Read PBM, PGM, PPM, PAM and PFM files with all their bits (netpbm.sourceforge.net/doc).

Pillow reads 8 of the 16 bits of colour, and no PAM.
"""

import logging
import re
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from liif.images.opening import RefusedError, check_pixels

_SPACE = b" \t\r\n\v\f"
_CHANNELS = {b"1": 1, b"2": 1, b"3": 3, b"4": 1, b"5": 1, b"6": 3, b"f": 1, b"F": 3}
_LONGEST = 2**16
"""Bytes of a header, with its comments."""

log = logging.getLogger("liif")


class NetpbmHeader(NamedTuple):
    """What a file says about its pixels."""

    kind: bytes
    """The second letter of the file: 1 to 7, f or F."""
    height: int
    width: int
    channels: int
    """1 gray, 2 gray and alpha, 3 RGB, 4 RGBA."""
    largest: float
    """The number that stands for white; of PFM files negative for a low byte first."""
    start: int
    """Position of the first pixel in the file."""

    @property
    def bits(self) -> Literal[8, 16, 32]:
        """8 or 16 per channel; 32 for floating-point numbers."""
        return 32 if self.kind in b"fF" else 8 if self.largest < 256 else 16


def is_netpbm(path: Path) -> bool:
    """Return whether a file starts as one of these formats."""
    with path.open("rb") as file:
        return re.fullmatch(rb"P[1-7fF][\s#]", file.read(3)) is not None


def read_netpbm_header(file: IO[bytes], path: Path) -> NetpbmHeader:
    """Return the header of an open file. Raises ValueError if it is damaged, RefusedError for more
    pixels than are read or for other channels than gray and RGB, with alpha or not."""
    head = file.read(_LONGEST)
    kind = head[1:2]
    if kind == b"7":
        end = re.search(rb"(?m)^ENDHDR[ \t\r]*\n", head)
        found = dict(re.findall(rb"(?m)^(WIDTH|HEIGHT|DEPTH|MAXVAL)\s+([0-9]{1,9})\s*$", head))
        if end is None or len(found) < 4:
            raise ValueError("an incomplete header")
        width, height, channels, largest = (
            int(found[key]) for key in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
        )
        start = end.end()
    else:
        count, number = (2 if kind in b"14" else 3), rb"(?:\s|#[^\n]*\n)+(-?[0-9.eE+-]{1,20})"
        match = re.match(rb"P." + number * count + (rb"\s" if kind not in b"123" else rb""), head)
        if match is None:
            raise ValueError("an incomplete header")
        width, height, channels = int(match[1]), int(match[2]), _CHANNELS[kind]
        largest = 1 if count == 2 else float(match[3]) if kind in b"fF" else int(match[3])
        start = match.end()
    if channels not in (1, 2, 3, 4):
        raise RefusedError(f"{channels} channels, neither gray nor RGB")
    if min(width, height) < 1 or not largest or (kind not in b"fF" and not 0 < largest < 65536):
        raise ValueError(f"{width}×{height} px, of which {largest} is white")
    check_pixels(path, height, width)
    return NetpbmHeader(kind, height, width, channels, largest, start)


def read_netpbm(file: IO[bytes], path: Path) -> tuple[npt.NDArray[Any], NetpbmHeader]:
    """Return the numbers of an open file, (H, W, C) uint8, uint16 or float32, of which `largest`
    (of floats 1) stands for white, and the header. Raises as `read_netpbm_header`."""
    header = read_netpbm_header(file, path)
    kind, H, W, C, largest, start = header
    count = H * W * C
    file.seek(start)
    if kind == b"1":  # digits need no space between them; 1 is black
        digits = re.sub(rb"#[^\n]*|[^01#]", b"", file.read())[:count]
        values = 1 - (np.frombuffer(digits, np.uint8) & 1)
    elif kind in b"23":
        words = re.sub(rb"#[^\n]*", b"", file.read()).split(None, count)[:count]
        values = np.array(words, np.int64)
    elif kind == b"4":
        rows = np.frombuffer(file.read(H * -(-W // 8)), np.uint8)
        rows = rows[: len(rows) // -(-W // 8) * -(-W // 8)].reshape(-1, -(-W // 8))
        values = 1 - np.unpackbits(rows, axis=1)[:, :W].reshape(-1)
    else:
        order = "<" if kind in b"fF" and largest < 0 else ">"
        dtype = np.dtype(f"{order}f4" if kind in b"fF" else "u1" if largest < 256 else ">u2")
        data = file.read(count * dtype.itemsize)
        values = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
    if kind in b"4567fF" and file.read(1) == b"P":
        log.warning("%s: holds several images; only the first is read", path)
    if len(values) < count:
        raise ValueError(f"truncated: {len(values)} of {count} numbers")
    values = values.reshape(H, W, C)
    if kind in b"fF":
        return values[::-1].astype(np.float32), header  # from bottom to top
    if values.min() < 0 or values.max() > largest:
        raise ValueError(f"a number above {largest:g}, which stands for white")
    return values.astype(np.uint8 if largest < 256 else np.uint16), header
