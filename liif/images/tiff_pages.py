"""The pages of a TIFF file: which of them are the image, and the numbers that they store.

Letters: H W size of a page, S its samples (numbers) per pixel.
"""

import io
import lzma
import math
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile
from PIL.TiffImagePlugin import TiffImageFile

from liif.images.opening import RefusedError, check_pixels

Array = npt.NDArray[Any]

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_RAW = {32803: "a colour filter array", 34892: "linear sensor data"}
_LZW, _PACKBITS, _LZMA, _ZSTD = 5, 32773, 34925, 50000
_DEFLATE = (8, 32946)
_BYTES = (1, _LZW, *_DEFLATE, _PACKBITS, _LZMA, _ZSTD)
"""Compressions of bytes; the others are of pictures, which Pillow decodes."""


class Page(NamedTuple):
    """What a page says about its pixels."""

    tags: tifffile.TiffPage
    height: int
    width: int
    samples: int
    bits: int
    """Per sample."""
    kind: str
    """u unsigned integers, i signed integers, f floating-point numbers."""
    photometric: int
    extra: tuple[int, ...]
    """Kinds of the samples beyond the colour: 0 unknown, 1 premultiplied alpha, 2 alpha."""
    orientation: int

    @property
    def upright_size(self) -> tuple[int, int]:
        """(H, W) after the orientation is applied."""
        is_turned = self.orientation in (5, 6, 7, 8)
        return (self.width, self.height) if is_turned else (self.height, self.width)

    @property
    def is_of_numbers(self) -> bool:
        """Return whether `read_numbers` decodes the page. Pillow has to if the compression is one
        of pictures, such as JPEG, or chroma is subsampled."""
        return int(self.tags.compression) in _BYTES and self.photometric != 6


def is_tiff(path: Path) -> bool:
    """Return whether a file starts as TIFF or BigTIFF."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def find_pages(file: tifffile.TiffFile, path: Path) -> tuple[list[Page], str]:
    """Return the pages that are images, and a text about those that are not.

    Previews and masks are no images. An image may be in a directory below that of its preview
    (SubIFDs). Raises RefusedError for camera raw files, whose images are sensor data.
    """
    file.filehandle.seek(8)
    if file.filehandle.read(2) == b"CR":
        raise _raw_error(path, "lossless JPEG of sensor data")
    file.pages.useframes = False
    chain = [page for page in file.pages if isinstance(page, tifffile.TiffPage)]
    below = [_sub_pages(page) for page in chain]
    everything = [*chain, *(page for pages in below for page in pages)]
    for page in everything:
        kind = _RAW.get(int(page.tags.valueof(262, -1)))
        if kind and not page.is_reduced:
            raise _raw_error(path, kind)
    images: list[tifffile.TiffPage] = []
    for page, subs in zip(chain, below, strict=True):
        full = [each for each in (page, *subs) if not (each.is_reduced or each.is_mask)]
        images += sorted(full, key=_area)[-1:]
    images = images or sorted(everything, key=_area)[-1:]
    if not images:
        raise ValueError("a TIFF file without an image")
    others = [page for page in everything if page not in images]
    masks = sum(page.is_mask for page in others)
    counts = {"preview": len(others) - masks, "mask": masks, "plane": _planes(file) - 1}
    listed = [counted(n, name) for name, n in counts.items() if n]
    for page in images:
        if _area(page) < 1:
            raise ValueError(f"{page.imagewidth}×{page.imagelength} px")
    return [_page(page, chain[0]) for page in images], " and ".join(listed)


def _sub_pages(page: tifffile.TiffPage) -> list[tifffile.TiffPage]:
    """Return the pages below a page; none if its links are damaged, which does not harm it."""
    with suppress(Exception):  # tifffile raises many types
        return [sub for sub in page.pages or () if isinstance(sub, tifffile.TiffPage)]
    return []


def _planes(file: tifffile.TiffFile) -> int:
    """Return how many planes the only directory of a file stands for, as scientific software
    writes it (`truncate` of tifffile, large stacks of ImageJ)."""
    if len(file.pages) > 1 or not (file.is_shaped or file.is_imagej):
        return 1
    with suppress(Exception):  # a damaged description costs no picture
        first = file.pages.first
        return max(1, math.prod(file.series[0].shape) // math.prod(first.shape))
    return 1


def counted(number: int, name: str) -> str:
    """Return a number with its noun, such as "2 masks"."""
    return f"{number} {name}{'s' * (number != 1)}"


def _raw_error(path: Path, kind: str) -> RefusedError:
    name = path.suffix.removeprefix(".").upper() or "TIFF"
    return RefusedError(
        f"a camera raw file ({name}): its image is {kind}, and only previews are pictures; develop "
        "it with a raw converter to TIFF of 16 bits"
    )


def _area(page: tifffile.TiffPage) -> int:
    return int(page.imagelength) * int(page.imagewidth)


def _page(page: tifffile.TiffPage, first: tifffile.TiffPage) -> Page:
    bits = page.tags.valueof(258, 1)
    kinds = page.tags.valueof(339, 1)
    several = set(bits if isinstance(bits, tuple) else [bits])
    formats = set(kinds if isinstance(kinds, tuple) else [kinds])
    if len(several) > 1 or len(formats) > 1:
        raise RefusedError(f"channels of different bits: {', '.join(map(str, bits))}")
    turn = page.tags.valueof(274, first.tags.valueof(274, 1))
    kind = {1: "u", 2: "i", 3: "f", 4: "u"}.get(int(formats.pop()))
    if kind is None:
        raise RefusedError("complex numbers; save it as 8 or 16 bit")
    if page.imagedepth > 1:
        raise RefusedError(f"a volume of {page.imagedepth} planes; save it as pages")
    photometric = int(page.tags.valueof(262, 1))
    extra = page.tags.valueof(338, ())
    return Page(
        page, int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel),
        int(several.pop()), kind, photometric,
        tuple(int(n) for n in (extra if isinstance(extra, tuple) else (extra,))),
        int(turn) if turn in range(1, 9) else 1,
    )  # fmt: skip


def read_numbers(page: Page, path: Path) -> Array:
    """Return the numbers of a page, (H, W, S), as they are stored: uint8 up to 8 bits, uint16 up to
    16, else of the size stated. Raises RefusedError for a rare layout, or ValueError if damaged."""
    check_pixels(path, page.height, page.width)
    tags, bits = page.tags, page.bits
    if bits not in (8, 16, 32, 64) and (page.kind != "u" or not 1 <= bits <= 16):
        kind = {"u": "integers", "i": "signed integers", "f": "floating-point numbers"}[page.kind]
        raise RefusedError(f"{kind} of {bits} bits; save it as 8 or 16 bit")
    is_planar = int(tags.planarconfig or 1) == 2 and page.samples > 1
    planes, S = (page.samples, 1) if is_planar else (1, page.samples)
    w, h = int(tags.tilewidth) or page.width, int(tags.tilelength) or int(tags.rowsperstrip)
    across, down = -(-page.width // w), -(-page.height // h)
    count = planes * down * across
    if min(len(tags.dataoffsets), len(tags.databytecounts)) < count:
        raise ValueError(f"{len(tags.dataoffsets)} of {count} strips or tiles")
    decompress = _decompressor(tags)
    dtype = np.dtype(f"{page.kind}{1 if bits <= 8 else 2 if bits <= 16 else bits // 8}")
    out = np.zeros((planes, page.height, page.width, S), dtype)
    for i in range(count):
        plane, (row, column) = i // (down * across), divmod(i % (down * across), across)
        top, left = row * h, column * w
        rows = h if tags.tilewidth else min(h, page.height - top)
        tags.parent.filehandle.seek(tags.dataoffsets[i])
        data = tags.parent.filehandle.read(tags.databytecounts[i])
        if not data and not tags.databytecounts[i]:
            continue  # left out, as of zeros
        if tags.fillorder == 2:
            stored = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            data = np.packbits(stored).tobytes()
        row_bytes = -(-w * S * bits // 8)
        data = decompress(data, rows * row_bytes)
        if len(data) < rows * row_bytes:
            raise ValueError(f"strip or tile {i} has {len(data)} of {rows * row_bytes} bytes")
        flat = np.frombuffer(data, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
        piece = _unpacked(flat, (rows, w, S), page, dtype)
        part = out[plane, top : top + h, left : left + w]
        part[:] = piece[: part.shape[0], : part.shape[1]]
    return np.moveaxis(out, 0, 2).reshape(page.height, page.width, page.samples)


def _unpacked(flat: Array, shape: tuple[int, int, int], page: Page, dtype: np.dtype[Any]) -> Array:
    """Return the numbers (rows, columns, S) of bytes (rows, bytes of a row)."""
    rows, w, S = shape
    predictor, order = int(page.tags.predictor), page.tags.parent.byteorder
    if page.bits not in (8, 16, 32, 64):
        if predictor != 1:
            raise RefusedError(f"differences (predictor {predictor}) of {page.bits} bits")
        bits = np.unpackbits(flat, axis=1)[:, : w * S * page.bits].reshape(rows, w * S, page.bits)
        numbers = np.zeros(bits.shape[:2], dtype)
        for bit in range(page.bits):
            numbers = (numbers << 1) | bits[..., bit]
        return numbers.astype(dtype).reshape(shape)
    if predictor == 3:  # bytes of the same place stand together, the highest first
        size = dtype.itemsize
        summed = np.cumsum(flat.reshape(rows, size * w, S), axis=1, dtype=np.uint8)
        together = summed.reshape(rows, size, w * S).swapaxes(1, 2)
        return np.ascontiguousarray(together).view(dtype.newbyteorder(">")).reshape(shape)
    numbers = flat.view(dtype.newbyteorder(order)).reshape(shape)
    if predictor == 2:
        whole = numbers.astype(dtype).view(f"u{dtype.itemsize}")
        return np.cumsum(whole, axis=1, dtype=whole.dtype).view(dtype)
    if predictor != 1:
        raise RefusedError(f"an unknown predictor, {predictor}")
    return numbers


def _decompressor(tags: tifffile.TiffPage) -> Callable[[bytes, int], bytes]:
    """Return a function of compressed bytes and the number of bytes that they stand for, which is
    also the most that is decompressed."""
    code = int(tags.compression)
    if code == 1:
        return lambda data, length: data
    if code in _DEFLATE:
        return lambda data, length: zlib.decompressobj().decompress(data, length)
    if code == _LZMA:
        return lambda data, length: lzma.LZMADecompressor().decompress(data, length)
    if code == _LZW:
        return _unpack_lzw
    try:
        decompress: Any = tifffile.TIFF.DECOMPRESSORS[code]
    except KeyError:
        name = tifffile.COMPRESSION(code).name
        raise RefusedError(
            f"{name} compression needs a package: pip install 'liif[formats]'"
        ) from None
    return lambda data, length: bytes(decompress(data))


def _unpack_lzw(data: bytes, length: int) -> bytes:
    """Let libtiff, inside Pillow, decompress: the bytes become a gray image of one row."""
    entries = [(256, length), (257, 1), (258, 8), (259, _LZW), (262, 1)]
    entries += [(273, 8), (277, 1), (278, 1), (279, len(data))]
    at = 8 + len(data) + len(data) % 2
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    head = struct.pack("<2sHI", b"II", 42, at) + data + bytes(len(data) % 2)
    file = io.BytesIO(head + struct.pack("<H", len(entries)) + directory + bytes(4))
    with TiffImageFile(file, "") as image:
        return np.asarray(image).tobytes()
