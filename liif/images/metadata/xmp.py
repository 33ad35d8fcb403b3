"""XMP of an enlarged picture: what depends on the pixels is changed in the text of the packet.

Names: XMP Specification part 2 (Adobe), Photo Sphere XMP (Google).
"""

import hashlib
import re

from liif.images.metadata.packet import Packet
from liif.images.metadata.record import Change
from liif.images.metadata.regions import adjust_regions, number_of

_ELSEWHERE = (
    *((space, name) for space in ("GCamera",) for name in (
        "MotionPhoto", "MotionPhotoVersion", "MotionPhotoPresentationTimestampUs", "MicroVideo",
        "MicroVideoVersion", "MicroVideoOffset", "MicroVideoPresentationTimestampUs")),
    ("Container", "Directory"), ("hdrgm", "Version"),
)  # fmt: skip
"""Statements on other pictures or videos behind this one in the file."""

STANDARD, EXTENDED = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
"""Beginnings of segments of JPEG with XMP (XMP Specification part 3, sec. 1.1.3)."""


def orientation_of(xmp: bytes) -> int:
    """Return the orientation, 1 to 8; 1 if it is missing or invalid."""
    text = Packet(xmp)
    values = text.values("tiff", "Orientation")
    return int(values[0]) if values and re.fullmatch("[1-8]", values[0]) else 1


def adjusted(xmp: bytes, change: Change, lost: list[str]) -> bytes:
    """Return an XMP packet for the changed pixels; what is removed is appended to `lost`."""
    packet = Packet(xmp)
    H, W = change.size
    packet.replace("tiff", "Orientation", lambda _: "1")
    for space, width, height in [
        ("tiff", "ImageWidth", "ImageLength"), ("exif", "PixelXDimension", "PixelYDimension"),
    ]:  # fmt: skip
        packet.replace(space, width, lambda _: str(W))
        packet.replace(space, height, lambda _: str(H))
    _adjust_subject(packet, change, lost)
    adjust_regions(packet, change, lost)
    _adjust_panorama(packet, change)
    packet.remove("xmp", "Thumbnails")
    packet.remove("xmpNote", "HasExtendedXMP")
    removed = [packet.remove(space, name) for space, name in _ELSEWHERE]
    if any(removed):
        lost.append("XMP on further parts of the file")
    return packet.encoded()


def _adjust_subject(packet: Packet, change: Change, lost: list[str]) -> None:
    """Adjust exif:SubjectArea and exif:SubjectLocation, lists of whole numbers."""

    def adjust(block: str) -> str:
        items = [int(item) for item in re.findall(r"li>\s{0,16}(\d{1,9})\s{0,16}<", block)]
        if len(items) < 2:
            return block
        x, y = change.point(items[0], items[1], last=1)
        if len(items) > 4 or not change.is_inside(x, y):
            lost.append("XMP subject area")
            return ""
        new = [x, y]
        if len(items) == 3:
            vertical, horizontal = change.scale
            new.append(items[2] * (vertical * horizontal) ** 0.5)
        elif len(items) == 4:
            new += change.lengths(items[2], items[3])
        numbers = iter(new)
        number = r"(li>\s{0,16})\d{1,9}(?=\s{0,16}<)"
        return re.sub(number, lambda found: found[1] + str(round(next(numbers))), block)

    for name in ("SubjectArea", "SubjectLocation"):
        packet.rewrite("exif", name, adjust)


def _adjust_panorama(packet: Packet, change: Change) -> None:
    """Adjust the sides of panoramas, in pixels of the whole sphere."""
    vertical, horizontal = change.scale
    moves = {
        "CroppedAreaLeftPixels": (change.window.left, horizontal),
        "CroppedAreaTopPixels": (change.window.top, vertical),
        "FullPanoWidthPixels": (0, horizontal),
        "FullPanoHeightPixels": (0, vertical),
    }
    for name, (shift, factor) in moves.items():

        def new(text: str, shift: float = shift, factor: float = factor) -> str:
            value = number_of(text)
            return text if value is None else str(round((value + shift) * factor))

        packet.replace("GPano", name, new)
    packet.replace("GPano", "CroppedAreaImageWidthPixels", lambda _: str(change.size[1]))
    packet.replace("GPano", "CroppedAreaImageHeightPixels", lambda _: str(change.size[0]))


def without_padding(xmp: bytes) -> bytes:
    """Return a packet without the blanks at its end, which are room for changes."""
    start, end, rest = xmp.rpartition(b"<?xpacket end")
    return start.rstrip() + b"\n" + end + rest if end else xmp


def split(xmp: bytes) -> tuple[bytes, bytes]:
    """Return a packet that refers to an extended one, and that: the given one, in UTF-8."""
    packet = Packet(xmp)
    text = re.sub(r"<\?xpacket[^<>]*\?>", "", packet.text).strip()
    extended = text.encode("utf-8", "surrogateescape")
    guid = hashlib.md5(extended, usedforsecurity=False).hexdigest().upper()
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" '
        f'xmpNote:HasExtendedXMP="{guid}"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode(), extended


def joined(xmp: bytes, extended: bytes) -> bytes | None:
    """Return the packet that a standard and an extended one make together, for formats without a
    limit; None if they cannot be joined in their text."""
    end, start = xmp.rfind(b"</rdf:RDF"), extended.find(b"<rdf:RDF")
    inner = extended.find(b">", start) + 1
    last = extended.rfind(b"</rdf:RDF")
    if min(end, start) < 0 or not start < inner <= last:
        return None
    spaces = re.findall(rb"xmlns:[\w.-]+=(?:\"[^\"<>]*\"|'[^'<>]*')", extended[:inner])
    top = xmp.find(b"<rdf:RDF") + len(b"<rdf:RDF")
    new = b"".join(b" " + space for space in spaces if space.partition(b"=")[0] not in xmp)
    return xmp[:top] + new + xmp[top:end] + extended[inner:last] + xmp[end:]
