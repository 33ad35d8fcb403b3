"""XMP of enlarged pictures: orientation, sizes and regions follow the pixels."""

import hashlib
import struct

import pytest
from helpers.carried import (
    exif_block,
    jpeg_file,
    jpeg_segments,
    png_chunks,
    png_file,
    xmp_of,
)
from PIL import Image

from liif.core.sizes import Window

XMP_START, EXT_START = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"


def described(properties, elements=""):
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        'syntax-ns#" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:e="http://ns.adobe.com/exif/'
        f'1.0/"><rdf:Description {properties}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>'
    )


def with_xmp(packet, orientation=None):
    segments = [(0xE1, XMP_START + packet)]
    if orientation:
        segments.insert(0, (0xE1, b"Exif\0\0" + exif_block("<", orientation)))
    return jpeg_file(*segments)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32"])
def test_orientation_and_sizes_in_xmp(enlarged, encoding):
    """As attributes and elements, with the usual prefix and another, in all encodings of XMP."""
    old = described(
        'tiff:Orientation = \'6\' e:PixelXDimension="16" title="größer"',
        "<tiff:ImageWidth>16</tiff:ImageWidth><e:PixelYDimension> 12 </e:PixelYDimension>",
    )
    new = described(
        'tiff:Orientation = \'1\' e:PixelXDimension="24" title="größer"',
        "<tiff:ImageWidth>24</tiff:ImageWidth><e:PixelYDimension> 32 </e:PixelYDimension>",
    )
    path, lost = enlarged("a.jpg", with_xmp(old.encode(encoding), 6), ".jpg")
    data = [data for _, data in jpeg_segments(path) if data.startswith(XMP_START)]
    assert lost == "" and data == [XMP_START + new.encode(encoding)]


def test_orientation_in_xmp_alone(enlarged):
    path, _ = enlarged("a.jpg", with_xmp(described('tiff:Orientation="6"').encode()), ".jpg")
    with Image.open(path) as image:
        assert image.size == (24, 32) and image.getexif().get(274) == 1
    assert b'tiff:Orientation="1"' in xmp_of(path)


REGIONS = (
    '<mwg-rs:Regions rdf:parseType="Resource" xmlns:mwg-rs="http://www.metadataworkinggroup.com/'
    'schemas/regions/" xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#" '
    'xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#">'
    '<mwg-rs:AppliedToDimensions stDim:w="16" stDim:h="12" stDim:unit="pixel"/>'
    '<mwg-rs:RegionList><rdf:Bag><rdf:li><mwg-rs:Area stArea:x="{}" stArea:y="{}" stArea:w="{}" '
    'stArea:h="{}" stArea:unit="{}"/></rdf:li></rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>'
)


@pytest.mark.parametrize(
    ("orientation", "window", "old", "new"),
    [
        (1, None, (0.5, 0.25, 0.25, 0.5, "normalized"), (0.5, 0.25, 0.25, 0.5)),
        (1, None, (8, 3, 4, 6, "pixel"), (16, 6, 8, 12)),
        (6, None, (0.5, 0.25, 0.25, 0.5, "normalized"), (0.75, 0.5, 0.5, 0.25)),
        (1, (0, 4, 12, 8), (0.5, 0.25, 0.25, 0.5, "normalized"), (0.5, 0.25, 0.5, 0.5)),
        (1, (0, 9, 12, 7), (0.5, 0.25, 0.25, 0.5, "normalized"), None),
        (6, None, ("half", 0.25, 0.25, 0.5, "normalized"), None),
    ],
)
def test_regions(enlarged, orientation, window, old, new):
    """Faces: their centre, width and height. What is cut off or not understood is dropped."""
    packet = described("", REGIONS.format(*old)).encode()
    content = with_xmp(packet, orientation)
    path, lost = enlarged("a.jpg", content, ".jpg", window and Window(*window))
    found = xmp_of(path).decode()
    if new is None:
        assert "Area" not in found and "XMP regions" in lost
        return
    with Image.open(path) as image:
        w, h = image.size
    expected = REGIONS.format(*new, old[4]).replace('w="16" stDim:h="12"', f'w="{w}" stDim:h="{h}"')
    assert expected in found


def test_thumbnails_and_further_parts_in_xmp(enlarged):
    space = 'xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    space += 'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
    packet = described(
        f'{space} GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="12345"',
        "<xmp:Thumbnails><rdf:Alt><rdf:li>/9j/4AAQ</rdf:li></rdf:Alt></xmp:Thumbnails>",
    )
    path, lost = enlarged("a.jpg", with_xmp(packet.encode()), ".jpg")
    assert xmp_of(path) == described(space).encode() and lost == "XMP on further parts of the file"


LONG = described("", f"<tiff:Note>{'слово ' * 20000}</tiff:Note>").encode()


def test_xmp_of_more_than_64_kb(enlarged):
    """Becomes extended XMP in JPEG, and one packet again elsewhere."""
    path, lost = enlarged(
        "a.png", png_file((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LONG)), ".jpg"
    )
    segments = [data for kind, data in jpeg_segments(path) if kind == 0xE1]
    first = [data for data in segments if data.startswith(XMP_START)]
    parts = [data[len(EXT_START) :] for data in segments if data.startswith(EXT_START)]
    guid, whole = parts[0][:32], b"".join(part[40:] for part in parts)
    assert lost == "" and len(first) == 1 and whole == LONG
    assert hashlib.md5(whole).hexdigest().upper().encode() == guid and guid in first[0]
    assert [struct.unpack(">I", part[32:36])[0] for part in parts] == [len(whole)] * len(parts)
    again, lost = enlarged("b.jpg", path.read_bytes(), ".png")
    note = LONG[LONG.index(b"<tiff:Note") : LONG.index(b"</rdf:Desc")]
    assert lost == "" and note in dict(png_chunks(again))[b"iTXt"]
    damaged = path.read_bytes().replace("слово".encode(), "олово".encode(), 1)
    _, lost = enlarged("c.jpg", damaged, ".png")
    assert lost == "extended XMP (damaged)"
