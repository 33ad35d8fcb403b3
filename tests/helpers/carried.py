"""Files of every format with everything that a format can carry, and a reader that finds it again.

The reader is Pillow, tifffile and some lines for what neither reads, not code of the package.
"""

import re
import struct
import zlib

import tifffile
from PIL import Image, ImageCms

from helpers.pictures import encoded, texture

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
IPTC = bytes.fromhex("1c0200000200041c02780005") + b"Paris" + bytes.fromhex("1c026e00024d65")
RESOURCES = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC + b"\0" * (len(IPTC) % 2)
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="1"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="фото"/></rdf:RDF></x:xmpmeta>'
    '<?xpacket end="w"?>'
).encode()
DPI = 300
GAMA, SRGB_CHUNK, CICP = struct.pack(">I", 45455), b"\0", bytes([9, 16, 0, 1])
CHRM = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
TEXT = "Ωmega — текст"
COMMENT = "größer, 大".encode()
GDAL = b"255\0"
HEIGHT, WIDTH = 12, 16


def exif_block(order="<", orientation=1, size=(HEIGHT, WIDTH), note=b"\x01note\xff" * 9):
    """EXIF data with a maker note, written number by number."""
    h, w = size
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)

    def entry(code, kind, count, value):
        if isinstance(value, int):
            value = struct.pack(order + ("H" if (kind, count) == (3, 1) else "I"), value)
        return struct.pack(order + "HHI", code, kind, count) + value.ljust(4, b"\0")

    maker_at = 8 + 2 + 3 * 12 + 4
    inner_at = maker_at + 8
    first = struct.pack(order + "H", 3)
    first += entry(271, 2, 7, maker_at) + entry(274, 3, 1, orientation)
    first += entry(34665, 4, 1, inner_at) + bytes(4) + b"Camera\0\0"
    inner = struct.pack(order + "H", 4)
    area_at = inner_at + 2 + 4 * 12 + 4
    inner += entry(37396, 3, 4, area_at) + entry(37500, 7, len(note), area_at + 8)
    inner += entry(40962, 3, 1, w) + entry(40963, 3, 1, h) + bytes(4)
    return start + first + inner + struct.pack(order + "4H", 8, 6, 4, 2) + note


def picture():
    return Image.fromarray(texture(HEIGHT, WIDTH))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_file(*chunks):
    data = encoded(picture(), "PNG")
    return data[:33] + b"".join(chunk(*each) for each in chunks) + data[33:]


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg_file(*segments, density=(1, DPI, DPI)):
    data = encoded(picture(), "JPEG", quality=95, subsampling=0)
    jfif = segment(0xE0, b"JFIF\0\1\1" + struct.pack(">BHH", *density) + b"\0\0")
    return data[:2] + jfif + b"".join(segment(*each) for each in segments) + data[20:]


def icc_segment(profile=SRGB):
    return 0xE2, b"ICC_PROFILE\0\1\1" + profile


def everything(form):
    """A file that has all that its format can carry."""
    exif = exif_block()
    if form == "png":
        texts = b"Title\0\0\0\0\0" + TEXT.encode(), b"XML:com.adobe.xmp\0\0\0\0\0" + XMP
        metres = struct.pack(">IIB", 11811, 11811, 1)
        raw = f"\niptc\n{len(RESOURCES):8}\n{RESOURCES.hex()}\n".encode()
        return png_file(
            (b"gAMA", GAMA), (b"cHRM", CHRM), (b"cICP", CICP), (b"sRGB", SRGB_CHUNK),
            (b"iCCP", b"x\0\0" + zlib.compress(SRGB)), (b"pHYs", metres), (b"eXIf", exif),
            (b"iTXt", texts[0]), (b"iTXt", texts[1]), (b"tEXt", b"Author\0Me"),
            (b"zTXt", b"Long\0\0" + zlib.compress(b"text " * 99)),
            (b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(raw)),
            (b"iTXt", b"Comment\0\0\0\0\0" + COMMENT), (b"tIME", b"\x07\xe8\1\2\3\4\5"),
        )  # fmt: skip
    if form == "jpg":
        return jpeg_file(
            (0xE1, b"Exif\0\0" + exif), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
            (0xED, b"Photoshop 3.0\0" + RESOURCES), icc_segment(), (0xEC, b"Ducky\0\1\0\4"),
            (0xFE, COMMENT),
        )  # fmt: skip
    if form in ("webp", "avif"):
        options = {"lossless": True} if form == "webp" else {"quality": 90}
        return encoded(picture(), form, exif=exif, xmp=XMP, icc_profile=SRGB, **options)
    if form == "gif":
        data = encoded(picture(), "GIF", comment=COMMENT)
        at = data.index(b"\x21\xfe")
        trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
        parts = [SRGB[i : i + 255] for i in range(0, len(SRGB), 255)]
        icc = b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
        further = b"\x21\xff\x0bXMP DataXMP" + XMP + trailer + b"\x21\xff\x0bICCRGBG1012" + icc
        return data[:at] + further + data[at:]
    if form == "bmp":
        return encoded(picture(), "BMP", dpi=(DPI, DPI))
    return (
        b"P6\n# " + COMMENT + b"\n%d %d\n255\n" % (WIDTH, HEIGHT) + texture(HEIGHT, WIDTH).tobytes()
    )


def write_everything(path):
    """Write a file that has all that the format of its suffix can carry."""
    if path.suffix != ".tif":
        path.write_bytes(everything(path.suffix[1:]))
        return path
    extra = [(700, 1, len(XMP), XMP, True), (33723, 7, len(IPTC), IPTC, True),
             (34377, 7, len(RESOURCES), RESOURCES, True), (42113, 2, len(GDAL), GDAL, True),
             (271, 2, 7, b"Camera\0", True), (274, 3, 1, 1, True),
             (33550, 12, 3, (2.0, 2.0, 0.0), True)]  # fmt: skip
    tifffile.imwrite(
        path, texture(HEIGHT, WIDTH), photometric="rgb", iccprofile=SRGB, extratags=extra,
        resolution=(DPI, DPI), resolutionunit="inch", metadata=None, software=None,
        description="A picture",
    )  # fmt: skip
    return path


def png_chunks(path):
    """The kind and content of each chunk."""
    data, at, found = path.read_bytes(), 8, []
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + content) == struct.unpack_from(">I", data, at + 8 + length)[0]
        found.append((kind, content))
        at += length + 12
    return found


def jpeg_segments(path):
    """The marker and content of each segment before the pixels."""
    data, at, found = path.read_bytes(), 2, []
    while data[at + 1] != 0xDA:
        assert data[at] == 0xFF
        length = struct.unpack_from(">H", data, at + 2)[0]
        found.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    return found


def dots(path):
    """Dots per inch as (x, y), rounded; None if the file does not say them."""
    with Image.open(path) as image:
        dpi = image.info.get("dpi")
        tags = image.getexif()
    if path.suffix in (".webp", ".avif"):
        factor = {2: 1, 3: 2.54}.get(tags.get(296), 0)
        dpi = [float(tags.get(code, 0)) * factor for code in (282, 283)] if factor else None
    if path.suffix == ".jpg":
        jfif = next((data for kind, data in jpeg_segments(path) if kind == 0xE0), b"")
        dpi = dpi if jfif[7:8] in (b"\1", b"\2") else None
    return None if dpi is None else tuple(round(float(side)) for side in dpi)


def found_in(path):
    """The properties that a file has unharmed, by the names in docs/upscale.md."""
    data = path.read_bytes()
    with Image.open(path) as image:
        info = dict(image.info)
        tags = image.getexif()
        found = {
            "resolution": dots(path) == (DPI, DPI),
            "ICC profile": info.get("icc_profile") == SRGB,
            "EXIF": tags.get(271) == "Camera",
            "XMP": (info.get("xmp") or info.get("XML:com.adobe.xmp", "")) in (XMP, XMP.decode()),
            "IPTC": RESOURCES in info.get("photoshop_raw", b""),
            "comment": info.get("comment") == COMMENT,
        }
    if path.suffix == ".png":
        chunks = png_chunks(path)
        kinds = dict(chunks)
        raw = next((c for k, c in chunks if k == b"zTXt" and b"type iptc\0" in c), b"")
        text = zlib.decompress(raw.partition(b"\0\0")[2]) if raw else b""
        found["IPTC"] = RESOURCES.hex().encode() in text.replace(b"\n", b"")
        found["comment"] = (b"iTXt", b"Comment\0\0\0\0\0" + COMMENT) in chunks
        found["PNG text"] = b"Title\0\0\0\0\0" + TEXT.encode() in [c for _, c in chunks]
        for kind, content in {"gAMA": GAMA, "cHRM": CHRM, "sRGB": SRGB_CHUNK, "cICP": CICP}.items():
            found[kind] = kinds.get(kind.encode()) == content
    if path.suffix == ".jpg":
        found["IPTC"] = (0xED, b"Photoshop 3.0\0" + RESOURCES) in jpeg_segments(path)
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            page = file.pages.first.tags
            found["XMP"] = 700 in page and page[700].value == XMP
            found["IPTC"] = 33723 in page and page[33723].value == IPTC
            found["comment"] = 270 in page and data.count(COMMENT) == 1
            found["GeoTIFF, GDAL"] = 42113 in page and str(page[42113].value) == "255"
    if path.suffix == ".avif":
        found["cICP"] = b"colrnclx" + struct.pack(">HH", *CICP[:2]) in data
    if path.suffix == ".gif":
        blocks = re.search(rb"ICCRGBG1012(.*?)\0\x21", data, re.DOTALL)
        found["ICC profile"] = blocks is not None and SRGB[:255] in data
        found["XMP"] = b"XMP DataXMP" + XMP + b"\1\xff\xfe" in data
    if path.suffix == ".bmp":
        start, size = struct.unpack_from("<II", data, 14 + 112)
        profile = data[14 + start : 14 + start + size]
        found["ICC profile"] = data[70:74] == b"DEBM" and profile == SRGB
    if path.suffix == ".ppm":
        found["comment"] = b"\n# " + COMMENT + b"\n" in data.partition(b"255\n")[0]
    return {name for name, is_there in found.items() if is_there}


def xmp_of(path):
    """The XMP packet of a file, as Pillow finds it."""
    with Image.open(path) as image:
        found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return found.encode() if isinstance(found, str) else found
