"""Metadata of TIFF files: tags of the first directory that are not about the storage of pixels."""

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path

from liif.images.metadata import photoshop
from liif.images.metadata.exif import (
    ORIENTATION,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    resolution_in,
    resolution_tags,
)
from liif.images.metadata.ifd import EXIF, GPS, Directory, Tag, open_structure
from liif.images.metadata.ifd_writing import merged, structure
from liif.images.metadata.record import Change, Metadata

_DESCRIPTION, PAGE_NUMBER = 270, 297
_OF_EXIF = (
    _DESCRIPTION, 271, 272, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 305, 306, 315,
    316, 318, 319, 18246, 18249, 33432, EXIF, GPS, *range(40091, 40096), 50341,
)  # fmt: skip
"""Tags that EXIF data may have, too."""
_XMP, _IPTC, _PHOTOSHOP, _ICC = 700, 33723, 34377, 34675
_KNOWN = (_XMP, _IPTC, _PHOTOSHOP, _ICC)
_STORAGE = {
    *range(254, 270), 273, *range(277, 282), 284, *range(288, 294), 297, 301, 317, 320,
    *range(321, 334), *range(334, 348), *range(351, 362), *range(400, 406), *range(512, 533), 559,
    *range(32995, 32999), 33421, 33422, 34232,
} - {269}  # fmt: skip
"""Tags on how pixels are stored, or that only hold for the old ones."""
_DNG = range(50706, 52600)
"""Tags of camera raw files: with them, programs would take the result for one."""
_LAYERS = 37724
_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION = 33550, 33922, 34264
_GEO = (_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION, 34735, 34736, 34737)
"""Tags of GeoTIFF (OGC 19-008r4, sec. 7.1)."""
_NAMES = {_LAYERS: "layers"}

_SIZES = (b'{"shape"', b'{"axes"', b"<?xml", b"ImageJ=")
"""Beginnings of a description in which scientific software stores the old size."""


def read(data: mmap.mmap | bytearray, at: int = 0, *, is_page: bool = False) -> Metadata:
    """Return the metadata of the image whose directory is at a position, 0 for the first. Unless it
    is one of several pages, what it does not say is taken from the first directory. Raises
    DamagedError."""
    first = open_structure(data)
    own = Directory(data, first.encoding, at) if at else first
    found = _of_directory(own)
    if is_page:
        numbers = [tag for tag in own.tags() if tag.code == PAGE_NUMBER]
        return found._replace(tags=(*found.tags, *numbers))
    if own.at == first.at:
        return found
    rest = _of_directory(first)
    known = {tag.code for tag in found.tags}
    return found._replace(
        icc=found.icc or rest.icc, xmp=found.xmp or rest.xmp, exif=rest.exif or found.exif,
        photoshop=found.photoshop or rest.photoshop, iptc=found.iptc or rest.iptc,
        tags=(*found.tags, *(tag for tag in rest.tags if tag.code not in known)),
        dropped=tuple(dict.fromkeys((*found.dropped, *rest.dropped))),
    )  # fmt: skip


def _of_directory(directory: Directory) -> Metadata:
    raw = {code: _raw(directory, code) for code in _KNOWN}
    dropped = [name for code, name in _NAMES.items() if code in directory.entries]
    tags = directory.tags(without={*_STORAGE, *_KNOWN, *_NAMES, *_DNG})
    of_exif = [tag for tag in tags if tag.code in _OF_EXIF]
    if any(tag.code == _DESCRIPTION and tag.value.startswith(_SIZES) for tag in of_exif):
        of_exif = [tag for tag in of_exif if tag.code != _DESCRIPTION]
        dropped.append("description of the old size")
    own = [tag for tag in tags if tag.code not in _OF_EXIF and tag.kind not in (13, 18)]
    if not directory.is_whole:
        dropped.append("damaged tags")
    of_raw = [code for code in directory.entries if code in _DNG]
    if of_raw:
        dropped.append("tags of camera raw" if 50706 in of_raw else _listed(of_raw))
    return Metadata(
        form="TIFF", resolution=resolution_in(directory), icc=raw[_ICC], xmp=raw[_XMP],
        exif=structure(of_exif, directory.encoding.order) if of_exif else None,
        photoshop=raw[_PHOTOSHOP], iptc=raw[_IPTC], tags=tuple(own), dropped=tuple(dropped),
    )  # fmt: skip


def _raw(directory: Directory, code: int) -> bytes | None:
    """Return a value as it is stored: some programs state 32-bit numbers where bytes are meant."""
    entry = directory.entries.get(code)
    if entry is None or entry.size == 0:
        return None
    return bytes(directory.data[entry.value_at : entry.value_at + entry.size])


def names_of(tags: Sequence[Tag]) -> str:
    """Return a short text on which tags these are."""
    return _listed([tag.code for tag in tags])


def _listed(codes: Sequence[int]) -> str:
    listed = ", ".join(map(str, codes[:4])) + (", …" if len(codes) > 4 else "")
    return f"TIFF tag{'s' * (len(codes) > 1)} {listed}"


def adjusted(tags: Sequence[Tag], change: Change, lost: list[str]) -> tuple[Tag, ...]:
    """Return tags for the changed pixels: those of GeoTIFF depend on them."""
    geo = [tag for tag in tags if tag.code in _GEO]
    new = {tag.code: _georeferenced(tag, change) for tag in geo}
    if geo and (change.orientation != 1 or None in new.values()):
        lost.append("georeference")
        return tuple(tag for tag in tags if tag.code not in _GEO)
    return tuple(new.get(tag.code) or tag for tag in tags)


def _georeferenced(tag: Tag, change: Change) -> Tag | None:
    if tag.code not in (_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION):
        return tag
    vertical, horizontal = change.scale
    if tag.kind != 12:
        return None
    values = list(struct.unpack(f"<{tag.length}d", tag.value))
    if tag.code == _PIXEL_SCALE and len(values) == 3:
        values[0], values[1] = values[0] / horizontal, values[1] / vertical
    elif tag.code == _TIE_POINTS and len(values) % 6 == 0:
        for i in range(0, len(values), 6):
            values[i : i + 2] = change.point(*values[i : i + 2])
    elif tag.code == _TRANSFORMATION and len(values) == 16:
        for i in range(0, 16, 4):  # rows of the matrix from (column, row, 0, 1) to coordinates
            a, b = values[i : i + 2]
            values[i + 3] += a * change.window.left + b * change.window.top
            values[i], values[i + 1] = a / horizontal, b / vertical
    else:
        return None
    return tag._replace(value=struct.pack(f"<{len(values)}d", *values))


def tags_of(metadata: Metadata) -> list[Tag]:
    """Return the tags to add to a file that has the pixels and their profile."""
    tags = list(metadata.tags)
    if metadata.exif:
        found = open_structure(bytearray(metadata.exif)).tags(without=_STORAGE)
        tags += [tag for tag in found if tag.code not in _KNOWN and tag.kind not in (13, 18)]
    if metadata.resolution is not None:
        tags += resolution_tags(metadata.resolution)
    iptc = metadata.iptc
    if metadata.photoshop:
        tags.append(_bytes(_PHOTOSHOP, 7, metadata.photoshop))
        iptc = iptc or photoshop.iptc_in(metadata.photoshop)
    if iptc:
        tags.append(_bytes(_IPTC, 7, iptc))
    if metadata.xmp:
        tags.append(_bytes(_XMP, 1, metadata.xmp))
    if metadata.comments and not any(tag.code == _DESCRIPTION for tag in tags):
        text = b"\n".join(metadata.comments).rstrip(b"\0") + b"\0"
        tags.append(_bytes(_DESCRIPTION, 2, text))
    return tags


def _bytes(code: int, kind: int, value: bytes) -> Tag:
    return Tag(code, kind, len(value), value)


def add_tags(path: Path, pages: Sequence[Sequence[Tag]], lost: list[str]) -> None:
    """Add tags to the directories of a TIFF file: each is written anew at the end."""
    if not any(pages):
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found, end = [open_structure(data)], len(data)
        encoding = found[0].encoding
        while found[-1].next:
            found.append(Directory(data, encoding, found[-1].next))
        at = start = end + end % 2
        blocks: list[bytes] = []
        for i, directory in enumerate(found):
            tags = pages[i] if i < len(pages) else ()
            size = len(merged(directory, tags, at, 0))
            following = at + size + size % 2 if i + 1 < len(found) else 0
            blocks.append(merged(directory, tags, at, following).ljust(size + size % 2, b"\0"))
            at += len(blocks[-1])
    if at >= 2**32 and not encoding.is_big:
        lost.append("all metadata (TIFF is limited to 4 GB)")
        return
    with path.open("r+b") as file:
        file.seek(end)
        file.write(bytes(start - end) + b"".join(blocks))
        file.seek(8 if encoding.is_big else 4)
        file.write(struct.pack(encoding.offset, start))
