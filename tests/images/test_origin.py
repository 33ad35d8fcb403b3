"""Records of what made a result, in every format: pixels and metadata stay as they were."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers.pictures import texture
from PIL import Image

from liif.images.origin import embed_record, fingerprint, read_record
from liif.images.suffixes import TARGETS

RECORD = {"model": "0123", "size": [8, 6], "options": {"precision": "auto"}, "part": None}
EXIF = Image.Exif()
EXIF[270] = "a description"


@pytest.mark.parametrize("suffix", TARGETS)
def test_a_record_changes_neither_pixels_nor_metadata(folder, suffix):
    path, (form, options) = Path(f"a{suffix}"), TARGETS[suffix]
    for metadata in ({}, {"exif": EXIF.tobytes()} if form != "BMP" else {}):
        Image.fromarray(texture(6, 8)).save(path, form, **options, **metadata)
        before = Image.open(io.BytesIO(path.read_bytes()))
        pixels = np.asarray(before.convert("RGB"))
        assert read_record(path) is None
        embed_record(path, RECORD)
        assert read_record(path) == RECORD
        with Image.open(path) as after:
            assert np.array_equal(np.asarray(after.convert("RGB")), pixels)
            assert after.info == before.info and dict(after.getexif()) == dict(before.getexif())


def test_structures_stay_as_their_standards_want_them(folder):
    """Walked through here, independently of any decoder."""
    image = Image.fromarray(texture(6, 8))
    for name in ("a.png", "a.jpg", "a.webp"):
        image.save(name, exif=EXIF)
        embed_record(Path(name), RECORD)
    data, place, kinds = Path("a.png").read_bytes(), 8, []
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kinds.append(data[place + 4 : place + 8])
        place += 12 + length
    assert place == len(data) and kinds[-2:] == [b"liIF", b"IEND"]
    data, place, kinds = Path("a.jpg").read_bytes(), 2, []
    while data[place + 1] != 0xDA:  # the start of the pixels
        assert data[place] == 0xFF
        kinds.append(data[place + 1])
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    assert kinds[0] in (0xE0, 0xE1) and 0xEF in kinds and data.endswith(b"\xff\xd9")
    data, place, kinds = Path("a.webp").read_bytes(), 12, []
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    while place < len(data):
        kinds.append(data[place : place + 4])
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + length + length % 2
    assert place == len(data) and kinds[-1] == b"LIIF"


def test_deep_and_large_tiff(folder):
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    for name, is_big in (("a.tif", False), ("b.tif", True)):
        tifffile.imwrite(name, pixels, bigtiff=is_big, compression="zlib")
        embed_record(Path(name), RECORD)
        assert np.array_equal(tifffile.imread(name), pixels) and read_record(Path(name)) == RECORD


@pytest.mark.parametrize(
    "content",
    [b"", b"liif-result: ", b"liif-result: {}x\n", b"liif-result: {[}\n", b"liif-result: {\xff}\n",
     b"liif-result: " + b'{"a":' * 9000 + b"}" * 9000 + b"\n"],
)  # fmt: skip
def test_what_is_no_record(folder, content):
    Path("a.png").write_bytes(content)
    assert read_record(Path("a.png")) is None
    assert read_record(Path("missing.png")) is None


def test_fingerprints_tell_large_files_apart_by_their_ends(folder):
    content = bytearray(2**20)
    found = set()
    for place in (None, 5, -5):
        if place is not None:
            content[place] = 1
        Path("a").write_bytes(content)
        found.add(fingerprint(Path("a")))
    Path("a").write_bytes(content + b"\0")
    assert len({*found, fingerprint(Path("a"))}) == 4
