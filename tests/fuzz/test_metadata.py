"""Random and damaged metadata: the picture is always read, and its enlargement written."""

import random
import struct
import zlib

import numpy as np
import pytest
import tifffile
from helpers.carried import (
    CHRM,
    COMMENT,
    GAMA,
    HEIGHT,
    RESOURCES,
    SRGB,
    WIDTH,
    XMP,
    chunk,
    exif_block,
    jpeg_file,
    picture,
    png_file,
    write_everything,
)
from helpers.pictures import encoded, texture
from PIL import Image

from liif.images.formats import Layout, write_photo
from liif.images.metadata.exif import open_exif
from liif.images.photo import read_photo

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of what is damaged

XMP_START, EXTENDED = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
TARGETS = (".png", ".jpg", ".tif", ".webp", ".gif", ".bmp", ".ppm")
IPTC_TEXT = zlib.compress(f"\niptc\n{len(RESOURCES):8}\n{RESOURCES.hex()}\n".encode())


def check(source, targets):
    """The pixels are read as without metadata, and results are readable by anyone."""
    photo = next(read_photo(source))
    if source.suffix in (".png", ".tif", ".webp", ".bmp"):
        assert np.array_equal(photo.colour, texture(HEIGHT, WIDTH))
    assert photo.size == (HEIGHT, WIDTH)
    for target in targets:
        path = source.with_name(f"result{target}")
        pixels = np.full((2 * HEIGHT, 2 * WIDTH, 3), 77, np.uint8)
        write_photo(path, pixels.shape[:2], Layout(3, 8), [pixels], photo)
        with Image.open(path) as image:
            found = np.asarray(image.convert("RGB"))
        assert found.shape == pixels.shape and abs(found.astype(int) - 77).max() <= 2
        assert next(read_photo(path)).size == pixels.shape[:2]


def damaged(rng, data):
    """Random bytes, a part, more, or some other bytes."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(rng.choice([0, 1, 3, 8, 50, 3000]))
    if kind == 1:
        return data[: rng.randrange(len(data) + 1)]
    if kind == 2:
        return data + rng.randbytes(rng.randrange(99))
    changed = bytearray(data)
    for _ in range(rng.choice([1, 3, 20])):
        changed[rng.randrange(len(data))] = rng.choice([0, 255, rng.randrange(256)])
    return bytes(changed)


PNG_CHUNKS = [
    (b"eXIf", exif_block()), (b"tEXt", b"Title\0x"), (b"zTXt", b"T\0\0" + zlib.compress(b"x" * 9)),
    (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    (b"iTXt", b"T\0\1\0\0\0" + zlib.compress(b"x")), (b"acTL", bytes(8)),
    (b"zTXt", b"Raw profile type iptc\0\0" + IPTC_TEXT), (b"iCCP", b"x\0\0" + zlib.compress(SRGB)),
    (b"zTXt", b"Raw profile type exif\0\0" + IPTC_TEXT), (b"gAMA", GAMA), (b"cHRM", CHRM),
    (b"pHYs", b"\0\0\0\4\0\0\0\3\1"), (b"cICP", b"\1\1\0\1"), (b"oFFs", bytes(9)),
    (b"sCAL", b"\x011\x002"), (b"sBIT", b"\x08\x08\x08"), (b"bKGD", bytes(6)), (b"tIME", bytes(7)),
]  # fmt: skip
JPEG_SEGMENTS = [
    (0xE1, b"Exif\0\0", exif_block(">")), (0xE1, XMP_START, XMP),
    (0xED, b"Photoshop 3.0\0", RESOURCES),
    (0xE1, XMP_START + b"HasExtendedXMP='" + b"A" * 32 + b"'" + EXTENDED, bytes(60)),
    (0xE2, b"ICC_PROFILE\0", b"\1\1" + SRGB), (0xE0, b"JFIF\0", bytes(9)), (0xFE, b"", COMMENT),
    (0xEE, b"Other", b"data"),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_any_bytes(tmp_path, seed):
    rng = random.Random(seed)
    files = {}
    for kind, content in PNG_CHUNKS:
        files[f"{kind.decode()}{len(files)}.png"] = png_file((kind, damaged(rng, content)))
    for marker, start, content in JPEG_SEGMENTS:
        files[f"{len(files)}.jpg"] = jpeg_file((marker, start + damaged(rng, content)))
    for name, content in {"exif": exif_block(), "xmp": XMP, "icc_profile": SRGB}.items():
        options = {name: damaged(rng, content), "lossless": True}
        files[f"{name}.webp"] = encoded(picture(), "WEBP", **options)
    bmp = encoded(picture(), "BMP")
    files["x.bmp"] = bmp[:38] + rng.randbytes(8) + bmp[46:]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        check(tmp_path / name, rng.sample(TARGETS, 1))


@pytest.mark.parametrize("seed", range(4))
def test_any_tags(tmp_path, seed):
    rng = random.Random(seed)
    kinds = [(700, 1, XMP), (33723, 7, RESOURCES), (34377, 7, RESOURCES), (42113, 2, b"9\0"),
             (270, 2, b"text\0"), (33550, 12, bytes(24)), (33922, 12, bytes(48)), (37724, 7, b"x"),
             (34665, 4, b"\x08\0\0\0"), (34853, 4, b"\xff\0\0\0"), (65001, 7, b"x")]  # fmt: skip
    tags = []
    for code, kind, value in kinds:
        size = {4: 4, 12: 8}.get(kind, 1)
        value = damaged(rng, value)
        if count := len(value) // size:
            tags.append((code, kind, count, value[: count * size], True))
    tifffile.imwrite(
        tmp_path / "x.tif", texture(HEIGHT, WIDTH), photometric="rgb", extratags=tags,
        metadata=None, byteorder=rng.choice("<>"),
    )  # fmt: skip
    check(tmp_path / "x.tif", TARGETS)


@pytest.mark.parametrize("seed", range(30))
def test_any_entries(tmp_path, seed):
    """Offsets, numbers, types and codes of the entries that are not about pixels."""
    rng, path = random.Random(seed), write_everything(tmp_path / "x.tif")
    data = bytearray(path.read_bytes())
    entries = range(10, 10 + 12 * struct.unpack_from("<H", data, 8)[0], 12)
    known = (700, 33723, 34377, 42113, 271, 270, 33550, 282, 283, 296, 34675)
    ours = [at for at in entries if struct.unpack_from("<H", data, at)[0] in known]
    for at in rng.sample(ours, 3):
        field, form, values = rng.choice([
            (8, "<I", [0, 8, 2**31, 2**32 - 1, len(data) - 2, rng.randrange(2**32)]),
            (4, "<I", [0, 1, 2**31, 2**32 - 1, rng.randrange(9999)]),
            (2, "<H", [0, 1, 2, 3, 4, 5, 7, 12, 13, 16, 99]),
            (0, "<H", [34665, 34853, 330, 40000, 65000]),
        ])  # fmt: skip
        struct.pack_into(form, data, at + field, rng.choice(values))
    path.write_bytes(data)
    check(path, rng.sample(TARGETS, 1))


def huge_text(kind):
    text, profile = zlib.compress(b"x" * 3_000_000), zlib.compress(SRGB + bytes(2**21))
    return {
        b"zTXt": b"Title\0\0" + text, b"iTXt": b"Title\0\1\0\0\0" + text,
        b"tEXt": b"Title\0" + b"x" * 3_000_000, b"iCCP": b"x\0\0" + profile,
    }[kind]  # fmt: skip


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"tEXt", b"iCCP"])
def test_large_texts_and_profiles_of_png(tmp_path, caplog, kind):
    """Such as Pillow refuses to open; the result of a picture with them is not so."""
    (tmp_path / "x.png").write_bytes(png_file((kind, huge_text(kind))))
    check(tmp_path / "x.png", [".png"])
    assert ("too large" in caplog.text) == (kind != b"tEXt")
    check(tmp_path / "x.png", [".jpg"])


@pytest.mark.parametrize("kind", [b"tEXt", b"eXIf", b"iCCP", b"gAMA", b"prVt"])
def test_wrong_checksums(tmp_path, caplog, kind):
    whole = chunk(kind, b"Title\0some text")
    data = png_file()
    for damage in (whole[:-1] + b"\0", whole[:-5] + b"?" + whole[-4:]):
        (tmp_path / "x.png").write_bytes(data[:33] + damage + data[33:])
        check(tmp_path / "x.png", [".png"])
        assert f"not kept: {kind.decode()} (damaged)" in caplog.text


def test_directories_in_circles(tmp_path):
    """Of EXIF data: the directory inside is the one outside; the next one, too; tags overlap."""
    for at, value in ((8 + 2 + 2 * 12 + 8, 8), (8 + 2 + 3 * 12, 8), (8 + 2 + 2 * 12 + 8, 2**31)):
        block = bytearray(exif_block())
        struct.pack_into("<I", block, at, value)
        (tmp_path / "x.jpg").write_bytes(jpeg_file((0xE1, b"Exif\0\0" + bytes(block))))
        check(tmp_path / "x.jpg", TARGETS)
    overlapping = b"II*\0\x08\0\0\0" + struct.pack("<H", 5000)
    overlapping += b"".join(struct.pack("<HHII", 40000 + i, 7, 60000, 8) for i in range(5000))
    overlapping += bytes(10_000)
    assert sum(len(tag.value) for tag in open_exif(overlapping).tags()) <= len(overlapping)
    (tmp_path / "x.png").write_bytes(png_file((b"eXIf", overlapping)))
    check(tmp_path / "x.png", [".jpg", ".tif"])


@pytest.mark.parametrize(
    "packet",
    [
        b"tiff:Orientation>" + b" " * 99_000, b"<tiff:Orientation " * 5_000,
        b"<xmp:Thumbnails>" * 5_000, b"xmlns:a=\"" * 5_000, b"\xff\xfe<\0a\0\0\xd8x",
        XMP.decode().encode("utf-16"), b"<mwg-rs:Regions>" + b"stArea:x='1e9' " * 5_000,
        b"<?xpacket end" + b" " * 99_000, b"",
    ],
    ids=range(9),
)  # fmt: skip
@pytest.mark.timeout(20)
def test_odd_packets(tmp_path, packet):
    """Also such as would keep a careless pattern busy for hours."""
    (tmp_path / "x.png").write_bytes(png_file((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)))
    check(tmp_path / "x.png", TARGETS)
