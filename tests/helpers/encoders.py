"""Small writers of PNG, TIFF, BMP and Netpbm files of every layout, so that the pixels are known.

They share no code with the package and follow the specifications: PNG (W3C, third edition), TIFF
6.0 with Adobe's supplements, BITMAPINFOHEADER. Letters: H W size, S samples of a pixel.
"""

import lzma
import struct
import zlib

import numpy as np


def packed(numbers, bits, order=">"):
    """Rows of whole numbers (H, n), each row as bytes of so many bits per number."""
    if bits in (8, 16, 32, 64):
        return [row.astype(f"{order}u{bits // 8}").tobytes() for row in numbers]
    rows = []
    for row in numbers:
        text = "".join(f"{int(n):0{bits}b}" for n in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return rows


# PNG

ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
ADAM7 += [(1, 0, 2, 1)]
"""First row, first column, steps of rows and columns of each pass."""


def png_bytes(numbers, bits, colour_type, *chunks, interlaced=False):
    """A PNG of numbers (H, W, S); `chunks` (kind, data) come before the pixels."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    H, W, _ = numbers.shape
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    parts = [numbers[y::dy, x::dx] for y, x, dy, dx in passes]
    parts = [part.reshape(len(part), -1) for part in parts if part.size]
    data = b"".join(b"\0" + row for part in parts for row in packed(part, bits))
    head = struct.pack(">IIBBBBB", W, H, bits, colour_type, 0, 0, int(interlaced))
    chunks = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*item) for item in chunks)


# TIFF


def packbits(data):
    """Runs of equal bytes and of different ones (TIFF 6.0, section 9)."""
    out, at = b"", 0
    while at < len(data):
        same = 1
        while same < 128 and data[at : at + 1] * (same + 1) == data[at : at + same + 1]:
            same += 1
        if same > 1:
            out, at = out + bytes([257 - same, data[at]]), at + same
        else:
            out, at = out + bytes([0, data[at]]), at + 1
    return out


def lzw(data):
    """Codes of 9 to 12 bits, the highest bit first (TIFF 6.0, section 13)."""
    clear, end = 256, 257
    codes, table, text = [(clear, 9)], {bytes([i]): i for i in range(256)}, b""
    width = 9
    for i in range(len(data)):
        longer = text + data[i : i + 1]
        if longer in table:
            text = longer
            continue
        codes.append((table[text], width))
        table[longer] = len(table) + 2
        width = 9 + sum(len(table) + 2 >= 2**n for n in (9, 10, 11))
        if len(table) + 2 >= 4094:
            codes.append((clear, width))
            table, width = {bytes([i]): i for i in range(256)}, 9
        text = data[i : i + 1]
    codes += [(table[text], width), (end, width)] if text else [(end, width)]
    bits = "".join(f"{code:0{size}b}" for code, size in codes)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


COMPRESSIONS = {
    1: bytes, 5: lzw, 8: zlib.compress, 32946: zlib.compress, 32773: packbits, 34925: lzma.compress
}  # fmt: skip
_TYPES = {"B": 1, "H": 3, "I": 4, "Q": 16}


class Tiff:
    """Collects pages and writes them one after the other."""

    def __init__(self, order="<", big=False):
        self.order, self.big = order, big
        self.data = bytearray(b"II" if order == "<" else b"MM")
        self.data += struct.pack(
            order + ("HHHQ" if big else "HI"), *((43, 8, 0, 0) if big else (42, 0))
        )
        self.link = 8 if big else 4  # where the offset of the next page is written
        self.word = "Q" if big else "I"

    def page(self, numbers, bits, photometric=1, *, compression=1, predictor=1, planar=False,
             tile=None, rows=None, extra=(), fill=1, below=None, **tags):  # fmt: skip
        """Append a page of numbers (H, W, S), of floats as they are; `tags` are t259=3, ….
        `below` is called to write sub-directories, of which it returns the offsets."""
        H, W, S = numbers.shape
        directory = {256: W, 257: H, 258: [bits] * S, 259: compression, 262: photometric, 277: S}
        directory[284] = 2 if planar else 1
        if numbers.dtype.kind in "if":
            directory[339] = [{"i": 2, "f": 3}[numbers.dtype.kind]] * S
        directory |= {317: predictor} if predictor > 1 else {}
        directory |= {338: list(extra)} if extra else {}
        directory |= {266: fill} if fill > 1 else {}
        segments = []
        for plane in [numbers[..., [i]] for i in range(S)] if planar else [numbers]:
            h, w = tile or (rows or H, W)
            for y in range(0, H, h):
                for x in range(0, W, w):
                    part = plane[y : y + h, x : x + w]
                    if tile:
                        room = [(0, h - part.shape[0]), (0, w - part.shape[1]), (0, 0)]
                        part = np.pad(part, room, mode="edge")
                    data = self._bytes(part, bits, predictor)
                    data = COMPRESSIONS[compression](data)
                    if fill == 2:
                        data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
                    segments.append(data)
        offsets = [self._append(data) for data in segments]
        names = (322, 323, 324, 325) if tile else (None, 278, 273, 279)
        directory |= {names[1]: tile[0] if tile else rows or H, names[2]: offsets}
        directory |= {names[3]: [len(data) for data in segments]}
        directory |= {322: tile[1]} if tile else {}
        directory |= {int(name[1:]): value for name, value in tags.items()}
        if below is not None:
            directory[330] = below()
        offset = self._directory(directory)
        if self.link is not None:
            struct.pack_into(self.order + self.word, self.data, self.link, offset)
            self.link = self.end
        return offset

    def sub_page(self, *arguments, **options):
        """As `page`, but outside of the chain."""
        kept, self.link = self.link, None
        offset = self.page(*arguments, **options)
        self.link = kept
        return offset

    def _bytes(self, part, bits, predictor):
        rows, _, S = part.shape
        if predictor == 2:
            whole = part.view(f"u{part.dtype.itemsize}").astype(np.uint64)
            part = np.diff(whole, axis=1, prepend=np.zeros((rows, 1, S), np.uint64))
            part = part.astype(f"u{bits // 8}")
        if predictor == 3:
            size = part.dtype.itemsize
            big = part.astype(f">f{size}").reshape(rows, -1)
            planes = np.ascontiguousarray(big).view(np.uint8).reshape(rows, -1, size)
            planes = planes.swapaxes(1, 2).reshape(rows, -1, S).astype(int)
            return (np.diff(planes, axis=1, prepend=0) % 256).astype(np.uint8).tobytes()
        if part.dtype.kind in "if":
            return part.astype(f"{self.order}{part.dtype.kind}{bits // 8}").tobytes()
        return b"".join(packed(part.reshape(rows, -1), bits, self.order))

    def _append(self, data):
        self.data += bytes(len(self.data) % 2)
        self.data += data
        return len(self.data) - len(data)

    def _directory(self, tags):
        entries = []
        for tag, value in sorted(tags.items()):
            values = list(value) if isinstance(value, list | tuple | bytes) else [value]
            wide = max(values, default=0) > 65535 or tag in (330, 273, 324)
            kind = "B" if isinstance(value, bytes) else "I" if wide else "H"
            data = struct.pack(f"{self.order}{len(values)}{kind}", *values)
            room = 8 if self.big else 4
            if len(data) > room:
                data = struct.pack(self.order + self.word, self._append(data))
            head = struct.pack(f"{self.order}HH{self.word}", tag, _TYPES[kind], len(values))
            entries.append(head + data.ljust(room, b"\0"))
        count = struct.pack(self.order + ("Q" if self.big else "H"), len(entries))
        offset = self._append(count + b"".join(entries))
        self.end = len(self.data)
        self.data += bytes(8 if self.big else 4)
        return offset


def tiff_bytes(numbers, bits, photometric=1, *, order="<", big=False, **options):
    """A TIFF file of one page."""
    file = Tiff(order, big)
    file.page(numbers, bits, photometric, **options)
    return bytes(file.data)


# BMP


def bmp_bytes(numbers, bits, *, palette=(), masks=None, top_down=False, compression=0):
    """A BMP of indices (H, W), or of words (H, W) of 16, 24 or 32 bits."""
    H, W = numbers.shape
    if bits <= 8:
        rows = packed(numbers, bits)
    else:
        whole = numbers.astype("<u4").view(np.uint8).reshape(H, W, 4)
        rows = [row.tobytes() for row in whole[..., : bits // 8]]
    rows = [row + bytes(-len(row) % 4) for row in (rows if top_down else rows[::-1])]
    colours = b"".join(struct.pack("<4B", b, g, r, 0) for r, g, b in palette)
    size = 40 if masks is None or len(masks) == 3 else 108
    words = struct.pack(f"<{len(masks)}I", *masks) if masks else b""
    more = words + bytes(108 - 40 - len(words)) if size == 108 else b""
    start = 14 + size + (0 if more else len(words)) + len(colours)
    data = b"".join(rows)
    head = struct.pack("<IiiHHIIiiII", size, W, -H if top_down else H, 1, bits,
                       3 if masks else compression, len(data), 0, 0, len(palette), 0)  # fmt: skip
    file = struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start)
    return file + head + (more or words) + colours + data
