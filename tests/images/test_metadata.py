"""Metadata of enlarged pictures: what is kept byte for byte, what changes with the pixels."""

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers.carried import (
    COMMENT,
    IPTC,
    RESOURCES,
    SRGB,
    XMP,
    exif_block,
    icc_segment,
    jpeg_file,
    jpeg_segments,
    picture,
    png_chunks,
    png_file,
    xmp_of,
)
from helpers.pictures import encoded, texture
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from liif.core.sizes import Window
from liif.images.formats import Layout, PageOutput, write_animation, write_pages, write_photo
from liif.images.photo import read_photo

XMP_START, EXT_START = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"


def exif_of(path):
    """The EXIF data of a result, byte for byte."""
    if path.suffix == ".jpg":
        data = [data for kind, data in jpeg_segments(path) if data.startswith(b"Exif\0\0")]
        return data[0][6:] if data else None
    if path.suffix == ".png":
        return dict(png_chunks(path)).get(b"eXIf")
    with Image.open(path) as image:
        exif = image.info.get("exif")
    return exif.removeprefix(b"Exif\0\0") if exif else None


def inner(path):
    with Image.open(path) as image:
        return dict(image.getexif().get_ifd(34665))


# EXIF


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("target", [".jpg", ".png", ".webp"])
def test_exif_is_changed_in_place(enlarged, target, order):
    """All bytes but those of the four numbers stay, so that maker notes remain readable."""
    block = exif_block(order, 1)
    path, lost = enlarged("a.jpg", jpeg_file((0xE1, b"Exif\0\0" + block)), target)
    found = exif_of(path)
    differ = [i for i in range(len(block)) if found[i] != block[i]]
    assert len(found) == len(block) + (len(found) - len(block)) * (target == ".webp")
    assert lost == "" and len(differ) <= 8 + (4 * (target == ".webp"))
    tags = inner(path)
    assert (tags[40962], tags[40963], tags[37396]) == (32, 24, (16, 12, 8, 4))
    assert tags[37500] == b"\x01note\xff" * 9


@pytest.mark.parametrize(
    ("orientation", "area", "crop"),
    [
        (1, (16, 12, 8, 4), (12, 8, 8, 4)), (2, (14, 12, 8, 4), (10, 8, 8, 4)),
        (3, (14, 10, 8, 4), (10, 6, 8, 4)), (4, (16, 10, 8, 4), (12, 6, 8, 4)),
        (5, (12, 16, 4, 8), (8, 12, 4, 8)), (6, (10, 16, 4, 8), (6, 12, 4, 8)),
        (7, (10, 14, 4, 8), (6, 10, 4, 8)), (8, (12, 14, 4, 8), (8, 10, 4, 8)),
    ],
)  # fmt: skip
def test_positions_are_turned_with_the_pixels(enlarged, orientation, area, crop):
    """A subject at (8, 6) of 16×12 pixels, 4 wide and 2 high."""
    content = jpeg_file((0xE1, b"Exif\0\0" + exif_block("<", orientation)))
    path, lost = enlarged("a.jpg", content, ".jpg")
    with Image.open(path) as image:
        assert image.getexif()[274] == 1
    found = inner(path)
    assert found[37396] == area and lost == ""
    assert (found[40962], found[40963]) == ((24, 32) if orientation > 4 else (32, 24))
    path, _ = enlarged("a.jpg", content, ".jpg", Window(2, 2, 9, 9))
    assert inner(path)[37396] == crop
    path, lost = enlarged("a.jpg", content, ".jpg", Window(0, 0, 2, 2))
    assert 37396 not in inner(path) and lost == "EXIF subject area"


def test_thumbnails_are_dropped_with_their_bytes(enlarged):
    """They show what --crop has cut off."""
    block = bytearray(exif_block())
    second, secret = len(block), b"\xff\xd8 secret \xff\xd9"
    struct.pack_into("<I", block, 8 + 2 + 3 * 12, second)
    block += struct.pack("<HHHII", 2, 513, 4, 1, second + 30)
    block += struct.pack("<HHIII", 514, 4, 1, len(secret), 0) + secret
    path, lost = enlarged("a.jpg", jpeg_file((0xE1, b"Exif\0\0" + bytes(block))), ".jpg")
    assert lost == "" and b"secret" not in path.read_bytes()
    assert inner(path)[40962] == 32


def test_focal_plane_and_long_sides(enlarged):
    """Sensor sizes, computed from them, stay; sides above 65535 pixels become 32-bit numbers."""
    exif = Image.Exif()
    exif[34665] = {41486: IFDRational(1000), 41487: IFDRational(500), 40962: 16, 40963: 12}
    path, _ = enlarged("a.png", png_file((b"eXIf", exif.tobytes()[6:])), ".png", scale=3.75)
    found = inner(path)
    assert (found[41486], found[41487]) == (3750, 1875)
    photo = next(read_photo(Path(path.parent / "a.png")))
    pixels = np.zeros((1, 70000, 3), np.uint8)
    write_photo(path, (1, 70000), Layout(3, 8), [pixels], photo)
    assert inner(path)[40962] == 70000


@pytest.mark.parametrize("source", [".png", ".tif"])
def test_exif_of_more_than_64_kb_in_jpeg(enlarged, source):
    """The maker note goes, which is the largest; nothing else."""
    block = exif_block(note=bytes(range(256)) * 300)
    content = png_file((b"eXIf", block))
    if source == ".tif":
        content = encoded(picture(), "TIFF", exif=Image.Exif())
        large, _ = enlarged("b.png", png_file((b"eXIf", block)), ".tif")
        content = large.read_bytes()
        assert inner(large)[37500] == bytes(range(256)) * 300
    path, lost = enlarged(f"a{source}", content, ".jpg")
    found = inner(path)
    assert lost == "EXIF maker note (too large)" and 37500 not in found
    assert found[40962] == (32 if source == ".png" else 64)
    with Image.open(path) as image:
        assert image.getexif()[271] == "Camera"
    path, lost = enlarged(f"a{source}", content, ".png")
    assert lost == "" and inner(path)[37500] == bytes(range(256)) * 300


def test_exif_of_jpeg_in_several_segments(enlarged):
    block = exif_block(note=bytes(range(256)) * 300)
    parts = [(0xE1, b"Exif\0\0" + block[at : at + 60000]) for at in (0, 60000)]
    path, lost = enlarged("a.jpg", jpeg_file(*parts), ".png")
    assert lost == "" and inner(path)[37500] == bytes(range(256)) * 300


# Resolution


def test_resolution_is_that_of_the_file_and_turned(enlarged):
    exif = exif_block("<", 6)
    dense = jpeg_file((0xE1, b"Exif\0\0" + exif), density=(1, 200, 100))
    for target in (".jpg", ".tif", ".bmp"):
        path, _ = enlarged("a.jpg", dense, target)
        with Image.open(path) as image:
            assert [round(side) for side in image.info["dpi"]] == [100, 200]
    path, _ = enlarged("a.jpg", dense, ".png")
    assert dict(png_chunks(path))[b"pHYs"] == struct.pack(">IIB", 3937, 7874, 1)


@pytest.mark.parametrize("content", [struct.pack(">IIB", 11811, 23622, 1), b"\0\0\0\4\0\0\0\3\0"])
def test_png_resolution_is_the_same(enlarged, content):
    path, _ = enlarged("a.png", png_file((b"pHYs", content)), ".png")
    assert dict(png_chunks(path))[b"pHYs"] == content


def test_no_resolution_is_invented(enlarged):
    for target in (".png", ".jpg", ".bmp", ".webp"):
        path, lost = enlarged("a.png", encoded(picture(), "PNG"), target)
        with Image.open(path) as image:
            assert "dpi" not in image.info or image.info["dpi"] == (0, 0)
        assert lost == "" and exif_of(path) is None


def test_odd_resolutions(enlarged):
    """Out of range for the target, or nonsense: never an error."""
    huge = struct.pack(">IIB", 2**31 - 1, 1, 1)
    path, lost = enlarged("a.png", png_file((b"pHYs", huge)), ".jpg")
    assert lost == "resolution"
    for x in ((0, 0), (1, 0), (0, 5), (2**32 - 1, 1)):
        tifffile.imwrite(path.parent / "x.tif", texture(4, 4), resolution=(77, 77))
        data = (path.parent / "x.tif").read_bytes()
        data = data.replace(struct.pack("<II", 77, 1), struct.pack("<II", *x))
        for target in (".png", ".tif", ".jpg", ".bmp", ".webp"):
            enlarged("x.tif", data, target)


# Other parts


def test_profiles_that_do_not_fit(enlarged):
    cmyk = SRGB[:16] + b"CMYK" + SRGB[20:]
    for profile, said in [(cmyk, "of CMYK"), (b"no profile" * 20, "damaged")]:
        _, lost = enlarged("a.jpg", jpeg_file(icc_segment(profile)), ".png")
        assert lost == f"ICC profile ({said})"
    gray = encoded(picture().convert("L"), "PNG", icc_profile=SRGB)
    _, lost = enlarged("g.png", gray, ".tif")
    assert lost == "ICC profile (of RGB)"
    image = picture().convert("CMYK")
    _, lost = enlarged("c.jpg", encoded(image, "JPEG", icc_profile=cmyk), ".jpg")
    assert lost == "ICC profile (of CMYK)"
    _, lost = enlarged("d.jpg", jpeg_file((0xE2, b"ICC_PROFILE\0\2\2" + SRGB)), ".png")
    assert lost == "ICC profile (damaged)"


def test_large_profiles_and_comments(enlarged):
    """A profile of several segments; a comment that no segment holds."""
    large = SRGB + bytes(150_000)
    path, lost = enlarged("a.png", encoded(picture(), "PNG", icc_profile=large), ".jpg")
    with Image.open(path) as image:
        assert image.info["icc_profile"] == large and lost == ""
    text = b"Comment\0" + b"x" * 70_000
    path, lost = enlarged("a.png", png_file((b"tEXt", text)), ".jpg")
    assert lost == "comment (too large)"
    path, lost = enlarged("a.png", png_file((b"tEXt", text)), ".gif")
    with Image.open(path) as image:
        assert image.info["comment"] == b"x" * 70_000


def test_georeferences_and_layers_of_tiff(enlarged, tmp_path):
    """Of twice the pixels, each is half as large; tie points are in pixels."""
    tags = [
        (33550, 12, 3, (10.0, 20.0, 0.0), True), (33922, 12, 6, (4.0, 2.0, 0, 500, 900, 0), True),
        (34735, 3, 4, (1, 1, 0, 0), True), (37724, 7, 4, b"8BIM", True),
        (65000, 2, 5, b"mine\0", True), (315, 2, 3, b"Me\0", True),
    ]  # fmt: skip
    tifffile.imwrite(tmp_path / "a.tif", texture(12, 16), extratags=tags, metadata=None)
    path, lost = enlarged("a.tif", None, ".tif", Window(1, 2, 8, 8))
    assert lost == "layers"
    with tifffile.TiffFile(path) as file:
        found = file.pages.first.tags
        assert found[33550].value == (5.0, 10.0, 0.0)
        assert found[33922].value == (4.0, 2.0, 0.0, 500.0, 900.0, 0.0)
        assert found[34735].value == (1, 1, 0, 0) and found[65000].value == "mine"
        assert found[315].value == "Me" and 37724 not in found
        assert np.array_equal(file.asarray(), np.zeros((16, 16, 3), np.uint8))


@pytest.mark.filterwarnings("ignore:Image appears to be a malformed MPO")
def test_pieces_of_other_programs(enlarged):
    """Kept in the same format, if they may be: PNG says so by the case of a chunk's name."""
    chunks = [(b"prVt", b"x" * 9), (b"prVT", b"y"), (b"oFFs", struct.pack(">iiB", 3, 5, 0)),
              (b"sCAL", b"\x010.5\x002e1")]  # fmt: skip
    path, lost = enlarged("a.png", png_file(*chunks), ".png", Window(2, 1, 6, 6))
    kinds = dict(png_chunks(path))
    assert kinds[b"prVt"] == b"x" * 9 and b"prVT" not in kinds and lost == "prVT"
    assert kinds[b"oFFs"] == struct.pack(">iiB", 8, 14, 0) and kinds[b"sCAL"] == b"\x010.25\x0010"
    riff = encoded(picture(), "WEBP", lossless=True)
    riff += b"JUNK" + struct.pack("<I", 3) + b"abc\0"
    riff = riff[:4] + struct.pack("<I", len(riff) - 8) + riff[8:]
    path, lost = enlarged("a.webp", riff, ".webp")
    assert lost == "" and b"JUNK\3\0\0\0abc\0" in path.read_bytes()
    _, lost = enlarged("a.webp", riff, ".jpg")
    assert lost == "JUNK"
    other = [
        (0xEB, b"JP\0\1 signature"),
        (0xE5, b"Mine\0x"),
        (0xE2, b"MPF\0x"),
        (0xEE, b"Adobe\0d"),
    ]
    path, lost = enlarged("a.jpg", jpeg_file(*other), ".jpg")
    assert lost == "content credentials, index of further pictures"
    assert (0xE5, b"Mine\0x") in jpeg_segments(path)


def test_photoshop_data(enlarged):
    """Thumbnails go; guides too, and are named; the rest stays byte for byte."""

    def block(number, data):
        return b"8BIM" + struct.pack(">H", number) + b"\0\0" + struct.pack(">I", len(data)) + data

    other, thumbnail, guides = block(1005, b"dpi."), block(1036, b"jpeg"), block(1032, b"grid")
    content = (0xED, b"Photoshop 3.0\0" + thumbnail + RESOURCES + guides + other)
    path, lost = enlarged("a.jpg", jpeg_file(content), ".jpg")
    assert (0xED, b"Photoshop 3.0\0" + RESOURCES + other) in jpeg_segments(path)
    assert lost == "Photoshop guides"
    long = b"Photoshop 3.0\0" + RESOURCES + block(1006, bytes(100_000))
    parts = [(0xED, b"Photoshop 3.0\0" + long[14:][at : at + 60000]) for at in (0, 60000)]
    path, _ = enlarged("a.jpg", jpeg_file(*parts), ".jpg")
    found = [data[14:] for kind, data in jpeg_segments(path) if kind == 0xED]
    assert len(found) == 2 and b"".join(found) == long[14:]
    path, _ = enlarged("a.jpg", jpeg_file((0xED, b"Photoshop 3.0\0" + RESOURCES)), ".tif")
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.tags[33723].value == IPTC


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animations(tmp_path, suffix):
    first, second = picture(), picture().rotate(180)
    options = {"comment": COMMENT} if suffix == ".gif" else {"exif": exif_block()}
    options |= {"save_all": True, "append_images": [second], "duration": 80, "loop": 3}
    first.save(tmp_path / f"a{suffix}", **options)
    photos = list(read_photo(tmp_path / f"a{suffix}"))
    frames = [(np.full((24, 32, 4), 255 - 200 * i, np.uint8), p) for i, p in enumerate(photos)]
    path = tmp_path / f"b{suffix}"
    write_animation(path, (24, 32), iter(frames))
    with Image.open(path) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (2, (32, 24), 3)
        if suffix == ".gif":
            assert image.info["comment"] == COMMENT
    if suffix != ".gif":
        assert inner(path)[40962] == 32


@pytest.mark.parametrize(("loop", "plays"), [(None, 1), (0, 0), (3, 4)])
def test_repetitions_of_gif_and_others(tmp_path, loop, plays):
    """GIF counts repetitions after the first time, others how often they play."""
    options = {"append_images": [picture().rotate(180)], "save_all": True}
    picture().save(tmp_path / "a.gif", **options, **({} if loop is None else {"loop": loop}))
    there = [("a.gif", "b.webp", plays), ("a.gif", "b.png", plays)]
    for source, target, expected in [*there, ("b.png", "c.gif", loop), ("b.webp", "d.gif", loop)]:
        photos = list(read_photo(tmp_path / source))
        frames = [(np.full((9, 9, 4), 255 - 200 * i, np.uint8), p) for i, p in enumerate(photos)]
        write_animation(tmp_path / target, (9, 9), iter(frames))
        with Image.open(tmp_path / target) as image:
            assert image.info.get("loop") == expected


def test_pages_keep_their_own_tags(enlarged, tmp_path):
    """Names, numbers and resolutions, each of its page."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for i in range(3):
            tags = [(285, 2, 2, f"{i}\0".encode(), True), (297, 3, 2, (i, 3), True)]
            file.write(
                texture(4, 6), extratags=tags, resolution=(100 + i, 100 + i), resolutionunit="inch",
                metadata=None,
            )  # fmt: skip
    photos = list(read_photo(tmp_path / "a.tif"))
    pages = [
        PageOutput(
            (8, 12), Layout(3, 8), [np.full((8, 12, 3), i, np.uint8)], photo, Window(0, 0, 4, 6)
        )
        for i, photo in enumerate(photos)
    ]
    write_pages(tmp_path / "b.tif", pages)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert [page.tags[285].value for page in file.pages] == ["0", "1", "2"]
        assert [page.tags[297].value for page in file.pages] == [(0, 3), (1, 3), (2, 3)]
        assert [page.tags[282].value for page in file.pages] == [(100, 1), (101, 1), (102, 1)]
        assert [page.asarray().max() for page in file.pages] == [0, 1, 2]
    _, lost = enlarged("a.tif", None, ".png")
    assert lost == "TIFF tag 285"


@pytest.mark.parametrize("options", [{"byteorder": ">"}, {"bigtiff": True}, {"dtype": np.uint16}])
@pytest.mark.parametrize("target", [".tif", ".jpg"])
def test_tiff_of_other_kinds(enlarged, tmp_path, options, target):
    """Big-endian, of 16 bits, and BigTIFF, whose numbers of 64 bits become smaller."""
    tags = [(271, 2, 4, b"Cam\0", True), (700, 1, len(XMP), XMP, True)]
    if "bigtiff" in options:
        tags.append((40001, 16, 1, 7, True))
    options = {"dtype": np.uint8, **options}
    image = texture(12, 16).astype(options.pop("dtype"))
    tifffile.imwrite(
        tmp_path / "a.tif", image, extratags=tags, resolution=(118, 118), metadata=None,
        resolutionunit="CENTIMETER", photometric="rgb", **options,
    )  # fmt: skip
    path, lost = enlarged("a.tif", None, target)
    is_lost = "bigtiff" in options and target == ".jpg"
    assert xmp_of(path) == XMP and lost == "TIFF tag 40001" * is_lost
    with Image.open(path) as image:
        assert image.getexif()[271] == "Cam"
        assert [round(side) for side in image.info["dpi"]] == [300, 300]
        if target == ".tif" and "bigtiff" in options:
            assert image.tag_v2[40001] == 7


def test_directories_of_gps_and_interoperability(enlarged):
    """Through all formats with EXIF, and back."""
    exif = Image.Exif()
    exif[271] = "Cam"
    exif[34853] = {1: "N", 2: (IFDRational(50), IFDRational(1, 3), IFDRational(5))}
    exif[34665] = {36864: b"0230", 40965: {1: "R98"}}
    content = png_file((b"eXIf", exif.tobytes()[6:]))
    name = "a.png"
    for i, target in enumerate((".tif", ".jpg", ".tif", ".webp", ".png")):
        path, lost = enlarged(name, content, target, scale=1)
        name, content = f"{i}{target}", path.read_bytes()
        with Image.open(path) as image:
            found = image.getexif()
            gps, inner_tags = found.get_ifd(34853), found.get_ifd(34665)
        assert (gps[1], gps[2], lost) == ("N", (50, IFDRational(1, 3), 5), "")
        assert inner_tags[36864] == b"0230" and found[271] == "Cam"
    block = exif_of(path)
    assert block.count(b"R98\0") == 1


def test_a_result_has_the_record_of_none_before_it(enlarged):
    line = b'liif-result: {"a": 1}\n'
    content = jpeg_file((0xEF, line), (0xFE, b"kept"))
    path, lost = enlarged("a.jpg", content, ".jpg")
    assert lost == "" and b"liif-result" not in path.read_bytes() and b"kept" in path.read_bytes()
    for target in (".png", ".webp"):
        _, lost = enlarged("a.png", png_file((b"liIF", line)), target)
        assert lost == ""
