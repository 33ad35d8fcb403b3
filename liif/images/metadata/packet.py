"""The text of an XMP packet, in which properties are found and changed without an XML parser: the
rest stays byte for byte, also where it is not well formed."""

import codecs
import re
from collections.abc import Callable

_NAMESPACES = {
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "GPano": "http://ns.google.com/photos/1.0/panorama/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
}
"""Usual prefixes of the namespaces; a packet may have others."""
_IS = r"\s{0,16}=\s{0,16}"
"""Between the name and the value of an attribute."""


class Packet:
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
