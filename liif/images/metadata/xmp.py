"""XMP of an enlarged picture: what depends on the pixels is changed in the text of the packet.

The rest of the packet stays byte for byte, also where it is not well formed, so that no XML parser
is needed. Names: XMP Specification part 2 (Adobe), Guidelines for Handling Image Metadata (MWG).
"""

import codecs
import hashlib
import re
from collections.abc import Callable
from typing import NamedTuple

from liif.images.metadata.record import Change

_NAMESPACES = {
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "xmpGImg": "http://ns.adobe.com/xap/1.0/g/img/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "GPano": "http://ns.google.com/photos/1.0/panorama/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "GDepth": "http://ns.google.com/photos/1.0/depthmap/",
    "GImage": "http://ns.google.com/photos/1.0/image/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "apdi": "http://ns.apple.com/pixeldatainfo/1.0/",
}


class _Regions(NamedTuple):
    """A list of regions: its name, and the names of the numbers of each region."""

    space: str
    name: str
    area: str
    """Namespace of the numbers."""
    sides: tuple[str, str, str, str]
    """x, y, width, height."""
    diameter: str
    unit: str
    is_centre: bool
    """Whether x and y are those of the centre, not of the upper left corner."""


_REGIONS = (
    _Regions("mwg-rs", "Regions", "stArea", ("x", "y", "w", "h"), "d", "unit", True),
    _Regions(
        "Iptc4xmpExt", "ImageRegion", "Iptc4xmpExt", ("rbX", "rbY", "rbW", "rbH"), "rbRx",
        "rbUnit", False,
    ),
)  # fmt: skip

_ELSEWHERE = (
    *((space, name) for space in ("GCamera",) for name in (
        "MotionPhoto", "MotionPhotoVersion", "MotionPhotoPresentationTimestampUs", "MicroVideo",
        "MicroVideoVersion", "MicroVideoOffset", "MicroVideoPresentationTimestampUs")),
    ("Container", "Directory"), ("hdrgm", "Version"),
)  # fmt: skip
"""Statements on other pictures or videos behind this one in the file."""

_IS = r"\s{0,16}=\s{0,16}"
STANDARD, EXTENDED = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
"""Beginnings of segments of JPEG with XMP (XMP Specification part 3, sec. 1.1.3)."""


def orientation_of(xmp: bytes) -> int:
    """Return the orientation, 1 to 8; 1 if it is missing or invalid."""
    text = _Packet(xmp)
    values = text.values("tiff", "Orientation")
    return int(values[0]) if values and re.fullmatch("[1-8]", values[0]) else 1


def adjusted(xmp: bytes, change: Change, lost: list[str]) -> bytes:
    """Return an XMP packet for the changed pixels; what is removed is appended to `lost`."""
    packet = _Packet(xmp)
    H, W = change.size
    packet.replace("tiff", "Orientation", lambda _: "1")
    for space, width, height in [
        ("tiff", "ImageWidth", "ImageLength"), ("exif", "PixelXDimension", "PixelYDimension"),
    ]:  # fmt: skip
        packet.replace(space, width, lambda _: str(W))
        packet.replace(space, height, lambda _: str(H))
    _adjust_subject(packet, change, lost)
    _adjust_regions(packet, change, lost)
    _adjust_panorama(packet, change)
    packet.remove("xmp", "Thumbnails")
    packet.remove("xmpNote", "HasExtendedXMP")
    removed = [packet.remove(space, name) for space, name in _ELSEWHERE]
    if any(removed):
        lost.append("XMP on further parts of the file")
    return packet.encoded()


class _Packet:
    """The text of a packet, with the prefixes of its namespaces."""

    def __init__(self, xmp: bytes) -> None:
        marks = {
            codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
            codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
        }  # fmt: skip
        self.xmp = xmp
        found = next((mark for mark in marks if xmp.startswith(mark)), b"")
        self.mark, self.encoding = found, "utf-8"
        if found:
            order = "le" if found[:1] == b"\xff" else "be"
            self.encoding = f"{marks[found]}-{order}"
        elif xmp[:2] in (b"<\0", b"\0<"):
            self.encoding = "utf-16-le" if xmp[:1] == b"<" else "utf-16-be"
        body = xmp[len(found) :]
        unit = {"utf-8": 1, "utf-16": 2, "utf-32": 4}[self.encoding[:6].rstrip("-")]
        end = len(body) // unit * unit
        self.rest = body[end:]
        self.errors = "surrogateescape" if unit == 1 else "surrogatepass"
        self.text = body[:end].decode(self.encoding, self.errors)
        self.old = self.text
        self.prefixes = {space: [space] for space in _NAMESPACES}
        by_uri = {uri: space for space, uri in _NAMESPACES.items()}
        for prefix, uri in re.findall(f"""xmlns:([\\w.-]+){_IS}["']([^"'<>]*)""", self.text):
            if (space := by_uri.get(uri)) and prefix not in self.prefixes[space]:
                self.prefixes[space].append(prefix)

    def encoded(self) -> bytes:
        if self.text == self.old:
            return self.xmp
        return self.mark + self.text.encode(self.encoding, self.errors) + self.rest

    def _name(self, space: str, name: str) -> str:
        prefixes = "|".join(map(re.escape, self.prefixes[space]))
        return f"(?:{prefixes}):{name}"

    def pattern(self, space: str, name: str) -> re.Pattern[str]:
        """Match a property: what is before its value, and the value, as attribute or element.

        Blanks and values are limited, or odd packets would take for ever."""
        start = rf"""(?<![/\w.-])({self._name(space, name)}(?:{_IS}["']|>)\s{{0,16}})"""
        return re.compile(rf"""{start}([^"'<>]{{0,200}}?)(?=\s{{0,16}}["'<])""")

    def values(self, space: str, name: str) -> list[str]:
        return [found[2] for found in self.pattern(space, name).finditer(self.text)]

    def replace(self, space: str, name: str, new: Callable[[str], str]) -> None:
        """Replace the values of a property that are not empty."""
        if name not in self.text:  # as most are, of long packets
            return
        self.text = self.pattern(space, name).sub(
            lambda found: found[1] + (new(found[2]) if found[2] else ""), self.text
        )

    def blocks(self, space: str, name: str) -> list[str]:
        """Return the elements of a name, from tag to tag."""
        return [self.text[start:end] for start, end in self._spans(space, name)]

    def rewrite(self, space: str, name: str, new: Callable[[str], str]) -> None:
        """Replace the elements of a name."""
        parts, at = list[str](), 0
        for start, end in self._spans(space, name):
            parts += [self.text[at:start], new(self.text[start:end])]
            at = end
        self.text = "".join([*parts, self.text[at:]])

    def _spans(self, space: str, name: str) -> list[tuple[int, int]]:
        tag, found, at = self._name(space, name), list[tuple[int, int]](), 0
        start, end = re.compile(rf"<{tag}(?=[\s/>])[^<>]*>"), re.compile(rf"</{tag}\s*>")
        while opening := start.search(self.text, at):
            at = opening.end()
            if not opening[0].endswith("/>"):
                closing = end.search(self.text, at)
                if closing is None:
                    break
                at = closing.end()
            found.append((opening.start(), at))
        return found

    def remove(self, space: str, name: str) -> bool:
        """Remove a property; returns whether it was there."""
        if name not in self.text:
            return False
        old = self.text
        self.rewrite(space, name, lambda _: "")
        attribute = rf"""\s{self._name(space, name)}{_IS}("[^"<>]*"|'[^'<>]*')"""
        self.text = re.sub(attribute, "", self.text)
        return self.text != old


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[+-]?(\d{1,9}\.?\d{0,40}|\.\d{1,40})", text) else None


def _adjust_subject(packet: _Packet, change: Change, lost: list[str]) -> None:
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


def _adjust_regions(packet: _Packet, change: Change, lost: list[str]) -> None:
    """Adjust regions, such as faces. Where one cannot be, its list is removed."""
    height, width = change.stored
    if change.is_turned and _applied_to(packet) == (width, height):
        # Some programs state regions of the upright picture.
        change = change._replace(orientation=1, stored=(width, height))
    for regions in _REGIONS:

        def adjust(block: str, regions: _Regions = regions) -> str:
            new = _with_areas(packet, block, regions, change)
            if new is None:
                lost.append("XMP regions")
            return new or ""

        packet.rewrite(regions.space, regions.name, adjust)
    is_cut: list[bool] = []

    def moved(text: str) -> str:
        numbers = [_number(part.strip()) for part in text.split(",")]
        x, y, w, h = (value or 0.0 for value in [*numbers, 0, 0, 0, 0][:4])
        new = _moved((x, y, w, h), False, "relative", change)
        is_cut.append(new is None or len(numbers) != 4 or None in numbers)
        return text if new is None else ", ".join(f"{value:.6f}" for value in new)

    if not _is_whole(change):
        packet.replace("MPReg", "Rectangle", moved)
    if any(is_cut):
        packet.remove("MP", "RegionInfo")
        lost.append("XMP regions")

    def applied(block: str) -> str:
        for side, value in zip("hw", change.size, strict=True):
            pattern = packet.pattern("stDim", side)
            block = pattern.sub(lambda found, value=value: found[1] + str(value), block)
        return block

    packet.rewrite("mwg-rs", "AppliedToDimensions", applied)


def _is_whole(change: Change) -> bool:
    """Whether relative positions stay as they are."""
    return change.orientation == 1 and change.window == (0, 0, *change.stored)


def _applied_to(packet: _Packet) -> tuple[int, int] | None:
    """Return the (H, W) for which regions are stated."""
    for block in packet.blocks("mwg-rs", "AppliedToDimensions"):
        found = [packet.pattern("stDim", side).search(block) for side in "hw"]
        sides = [_number(each[2]) for each in found if each]
        if len(sides) == 2 and None not in sides:
            return int(sides[0] or 0), int(sides[1] or 0)
    return None


def _with_areas(packet: _Packet, block: str, names: _Regions, change: Change) -> str | None:
    """Return a list of regions for the changed pixels; None if one is cut off or not understood."""
    each = "|".join((*names.sides, names.diameter, names.unit))
    groups: list[dict[str, tuple[int, int, str]]] = [{}]
    for found in packet.pattern(names.area, f"({each})").finditer(block):
        if found[2] in groups[-1]:
            groups.append({})
        groups[-1][found[2]] = (found.start(3), found.end(3), found[3])
    changes: list[tuple[int, int, str]] = []
    unit = "relative"
    for group in groups:
        if names.unit in group:
            unit = "pixel" if group[names.unit][2].startswith("pixel") else "relative"
        if (unit == "relative" and _is_whole(change)) or not group.keys() - {names.unit}:
            continue
        places = [group[name] for name in names.sides if name in group]
        values = [_number(text) for _, _, text in places]
        if names.diameter in group or len(values) not in (2, 4) or None in values:
            return None
        x, y, w, h = [value or 0.0 for value in [*values, 0, 0]][:4]
        new = _moved((x, y, w, h), names.is_centre, unit, change)
        if new is None:
            return None
        changes += [(at, end, _text(v)) for (at, end, _), v in zip(places, new, strict=False)]
    parts, last = list[str](), 0
    for at, end, text in sorted(changes):
        parts += [block[last:at], text]
        last = end
    return "".join([*parts, block[last:]])


def _text(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _moved(
    area: tuple[float, float, float, float], is_centre: bool, unit: str, change: Change
) -> tuple[float, float, float, float] | None:
    """Return x, y, width and height of an area in the result; None if it is not wholly inside.

    `area` has the same, in pixels or relative to the sides of the stored image.
    """
    x, y, w, h = area
    height, width = (1, 1) if unit == "pixel" else change.stored
    x, y, w, h = x * width, y * height, w * width, h * height
    if not is_centre:
        x, y = x + w / 2, y + h / 2
    x, y = change.point(x, y)
    w, h = change.lengths(w, h)
    left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    H, W = change.size
    if min(left / W, top / H) < -1e-3 or max(right / W, bottom / H) > 1 + 1e-3:
        return None
    if not is_centre:
        x, y = left, top
    return (x, y, w, h) if unit == "pixel" else (x / W, y / H, w / W, h / H)


def _adjust_panorama(packet: _Packet, change: Change) -> None:
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
            value = _number(text)
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
    packet = _Packet(xmp)
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
