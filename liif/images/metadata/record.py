"""What an image file says beside its pixels, in the same terms for all formats.

Every part is kept as the bytes that the file has, so that it can be written again unchanged.
"""

from fractions import Fraction
from typing import Literal, NamedTuple

from liif.core.sizes import Size, Window
from liif.images.metadata.ifd import Tag


class Resolution(NamedTuple):
    """Pixels per unit of length, for printing; without a unit only their ratio counts."""

    x: Fraction
    y: Fraction
    unit: Literal["inch", "cm", ""] = "inch"

    def per(self, unit: Literal["inch", "cm", "m"]) -> tuple[Fraction, Fraction]:
        """Return the pixels per inch, centimetre or metre. It must have a unit."""
        lengths = {"inch": Fraction(254, 100), "cm": Fraction(1), "m": Fraction(100)}
        factor = lengths[unit] / lengths[self.unit]
        return self.x * factor, self.y * factor


class Piece(NamedTuple):
    """A named part of a file that only its own format can hold, such as a chunk of PNG."""

    kind: bytes
    data: bytes


class Metadata(NamedTuple):
    """What an image file says beside its pixels."""

    form: str = ""
    """Pillow's name of the file's format."""
    orientation: int = 1
    """How the stored pixels are turned (EXIF tag 274)."""
    resolution: Resolution | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    """From the byte order of the TIFF structure on."""
    xmp: bytes | None = None
    """An XMP packet."""

    photoshop: bytes | None = None
    """Image resources of Photoshop ("8BIM"), in which JPEG has IPTC."""
    iptc: bytes | None = None
    """IPTC records, as a tag of TIFF."""
    comments: tuple[bytes, ...] = ()
    colour: tuple[Piece, ...] = ()
    """PNG chunks about colour: gAMA, cHRM, sRGB, cICP, mDCV, cLLI."""
    texts: tuple[Piece, ...] = ()
    """PNG chunks tEXt, zTXt, iTXt."""
    pieces: tuple[Piece, ...] = ()
    """Further chunks, segments or blocks of the file's format."""
    tags: tuple[Tag, ...] = ()
    """Tags that only TIFF files have."""
    dropped: tuple[str, ...] = ()
    """What is there but is not kept: it is damaged, or says something about the old pixels."""


class Change(NamedTuple):
    """What became of the pixels of a file."""

    stored: Size
    """(H, W) of the pixels in the file, before they were turned upright."""
    orientation: int
    window: Window
    """The part of the upright image that is shown."""
    size: Size
    """(H, W) of the result."""

    @property
    def is_turned(self) -> bool:
        """Whether height and width are exchanged."""
        return self.orientation in (5, 6, 7, 8)

    @property
    def scale(self) -> tuple[float, float]:
        """(vertical, horizontal) factors of the upright image."""
        return self.size[0] / self.window.height, self.size[1] / self.window.width

    def point(self, x: float, y: float, last: float = 0) -> tuple[float, float]:
        """Return where a point of the stored image, in pixels, lies in the result; `last` is 1 for
        the index of a pixel, of which the last is one less than the width."""
        h, w = self.stored
        if self.is_turned:
            x, y, h, w = y, x, w, h
        if self.orientation in (3, 4, 7, 8):
            y = h - last - y
        if self.orientation in (2, 3, 6, 7):
            x = w - last - x
        vertical, horizontal = self.scale
        return (x - self.window.left) * horizontal, (y - self.window.top) * vertical

    def lengths(self, width: float, height: float) -> tuple[float, float]:
        """Return the width and height in the result of a rectangle of the stored image."""
        if self.is_turned:
            width, height = height, width
        vertical, horizontal = self.scale
        return width * horizontal, height * vertical

    def is_inside(self, x: float, y: float) -> bool:
        """Return whether a point of the result is inside it."""
        return 0 <= x <= self.size[1] and 0 <= y <= self.size[0]
