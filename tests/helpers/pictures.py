"""Textured and noisy pictures, damaged ones, and files that Pillow does not write."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def texture(height, width, seed=0):
    """A textured colour picture, uint8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    waves = [
        np.sin(x / 3 + seed) + np.cos(y / 5),
        np.sin((x + 2 * y + seed) / 4),
        np.cos(x * y / 99),
    ]
    return ((np.stack(waves, axis=-1) + 2) / 4 * 255).astype(np.uint8)


def encoded(image, form, **options):
    """The bytes of a file of a format."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_noise(path, height=6, width=8, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(height, width, seed)).save(path)
    return path


EXPECTED = [noise(6, 8, 0), noise(9, 5, 1), noise(4, 4, 2)]


def assert_holds_all(store):
    assert store.names == ["a.png", "b.png", "sub/c.png"]
    assert store.sizes == [(6, 8), (9, 5), (4, 4)]
    assert len(store) == 3 and store.skipped == []
    for i, expected in enumerate(EXPECTED):
        assert store[i].dtype == np.uint8
        assert np.array_equal(store[i], expected)


CACHES = ["none", "memory", "mmap"]


def read_all(store):
    return [np.array(store[i]) for i in range(len(store))], os.getpid()


def cache_folders(cache_dir):
    return sorted(path for path in cache_dir.iterdir() if path.is_dir())


GRAY = np.array([[0, 60, 128], [200, 254, 255]], np.uint8)
GRAY3 = np.repeat(GRAY[..., None], 3, axis=2)

WIDE = np.array([[0, 255, 256], [0x1234, 0xFEFF, 0xFFFF]], np.uint16)

# Where the corners of the stored image belong, by the EXIF standard: (row 0 side, column 0 side).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],  # row 0 top, column 0 right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.transpose(1, 0, 2),  # left, top
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],  # right, top: turn clockwise
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: lambda a: a.transpose(1, 0, 2)[::-1],  # left, bottom: turn anticlockwise
}


def exif(orientation):
    tags = Image.Exif()
    tags[274] = orientation
    return tags


def png(path, colour_type, depth, rows, width, *chunks_after, before=()):
    """A PNG with any chunks, some of which Pillow does not write itself."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), *before, (b"IDAT", pixels), *chunks_after, (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*item) for item in chunks))
    return path


def broken(kind):
    content = Path("photos/b.png").read_bytes()
    contents = {"truncated": content[: len(content) // 2], "empty": b"", "text": b"no image"}
    Path("photos/b.png").write_bytes(contents[kind])
    return {"truncated": "truncated", "empty": "the file is empty", "text": "not an image"}[kind]
