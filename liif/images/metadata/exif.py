"""EXIF data of an enlarged picture: what depends on the pixels is changed in place, byte by byte.

Nothing else moves, since maker notes have offsets of their own. Tags: EXIF 3.0 (CIPA DC-008-2023).
"""

import struct
from fractions import Fraction
from typing import Literal

from liif.images.metadata.ifd import (
    EXIF,
    DamagedError,
    Directory,
    Tag,
    open_structure,
)
from liif.images.metadata.ifd_writing import structure, with_tags
from liif.images.metadata.record import Change, Resolution

WIDTH, HEIGHT, ORIENTATION = 256, 257, 274
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
_SUBJECT_AREA, _SUBJECT_LOCATION = 37396, 41492
_PIXEL_WIDTH, _PIXEL_HEIGHT = 40962, 40963
_FOCAL_PLANE = (41486, 41487)
"""Pixels per unit of length on the sensor, horizontally and vertically."""
_THUMBNAIL_AT, _THUMBNAIL_BYTES = 513, 514
_MAKER_NOTE = 37500


def open_exif(exif: bytes) -> Directory:
    """Return the first directory of a copy of EXIF data. Raises DamagedError."""
    return open_structure(bytearray(exif))


def orientation_in(directory: Directory) -> int:
    """Return the orientation, 1 to 8; 1 if it is missing or invalid."""
    value = directory.integers(ORIENTATION)
    return value[0] if value and 1 <= value[0] <= 8 else 1


def resolution_in(directory: Directory) -> Resolution | None:
    """Return the resolution of the first directory; None if it is missing, invalid or unitless."""
    unit = (directory.integers(RESOLUTION_UNIT) or (2,))[0]
    x, y = (_rational(directory, code) for code in (X_RESOLUTION, Y_RESOLUTION))
    units: dict[int, Literal["", "inch", "cm"]] = {1: "", 2: "inch", 3: "cm"}
    if unit not in units or not x or not y:
        return None
    return Resolution(x, y, units[unit])


def resolution_tags(resolution: Resolution) -> list[Tag]:
    """Return the three tags of a resolution."""
    sides = zip((X_RESOLUTION, Y_RESOLUTION), (resolution.x, resolution.y), strict=True)
    unit = {"": 1, "inch": 2, "cm": 3}[resolution.unit]
    tags = [Tag(code, 5, 1, struct.pack("<II", *_ratio(value))) for code, value in sides]
    return [*tags, Tag(RESOLUTION_UNIT, 3, 1, struct.pack("<H", unit))]


def adjusted(exif: bytes, change: Change, lost: list[str]) -> bytes | None:
    """Return EXIF data for the changed pixels; None if they are damaged beyond that. What is
    removed is appended to `lost`."""
    try:
        first = open_exif(exif)
    except DamagedError:
        lost.append("EXIF (damaged)")
        return None
    data = first.data
    assert isinstance(data, bytearray)
    _drop_thumbnail(first)
    if ORIENTATION in first.entries and not first.set_integers(ORIENTATION, [1]):
        first.remove(ORIENTATION)
    if change.is_turned:
        _exchange(first, X_RESOLUTION, Y_RESOLUTION)
    inner = first.inner(EXIF)
    H, W = change.size
    sides = [(first, WIDTH, W), (first, HEIGHT, H)]
    if inner is not None:
        sides += [(inner, _PIXEL_WIDTH, W), (inner, _PIXEL_HEIGHT, H)]
    for directory, code, value in sides:
        if code in directory.entries and not directory.set_integers(code, [value]):
            directory.remove(code)
    if inner is not None:
        _adjust_positions(inner, change, lost)
        _adjust_focal_plane(inner, change)
    return bytes(data)


def without_orientation(exif: bytes) -> bytes:
    """Return EXIF data that do not state an orientation, for formats with one of their own."""
    first = open_exif(exif)
    first.remove(ORIENTATION)
    return bytes(first.data)


def with_resolution(exif: bytes | None, resolution: Resolution) -> bytes:
    """Return EXIF data that state a resolution; their own, if they have one."""
    if exif is None:
        return structure(resolution_tags(resolution))
    stated = resolution_in(open_exif(exif))
    return exif if stated and stated.unit else with_tags(exif, resolution_tags(resolution))


def shortened(exif: bytes, most: int, lost: list[str]) -> bytes:
    """Return EXIF data of at most so many bytes: the largest values are removed first."""
    first = open_exif(exif)
    tags = first.tags()
    order = first.encoding.order
    while len(short := structure(tags, order)) > most:
        size, code = max((len(tag.value), tag.code) for tag in _all(tags))
        if size == 0:
            raise DamagedError("too many tags")
        tags = _without(tags, size, code)
        name = "maker note" if code == _MAKER_NOTE else f"tag {code}"
        lost.append(f"EXIF {name} (too large)")
    return short


def _all(tags: list[Tag] | tuple[Tag, ...]) -> list[Tag]:
    return [each for tag in tags for each in (tag, *_all(tag.inner))]


def _without(tags: list[Tag], size: int, code: int) -> list[Tag]:
    kept = [tag for tag in tags if (len(tag.value), tag.code) != (size, code)]
    return [tag._replace(inner=tuple(_without(list(tag.inner), size, code))) for tag in kept]


def _drop_thumbnail(first: Directory) -> None:
    """Remove the link to the second directory, and the bytes of the thumbnail unless other values
    are there: a thumbnail may show what has been cut off."""
    at, data = first.next, first.data
    first.cut()
    try:
        second = Directory(data, first.encoding, at)
    except DamagedError:
        return
    place = second.integers(_THUMBNAIL_AT), second.integers(_THUMBNAIL_BYTES)
    if not all(place):
        return
    start, end = place[0][0], min(place[0][0] + place[1][0], len(data))
    used = [(0, 8), *_used(first, 3)]
    if start < end and all(end <= low or start >= high for low, high in used):
        data[start:end] = bytes(end - start)


def _used(directory: Directory, depth: int) -> list[tuple[int, int]]:
    """Return the first and last + 1 byte of a directory, of its values and of inner ones."""
    found = [(directory.at, directory.next_at + 8)]
    for entry in directory.entries.values():
        found.append((entry.value_at, entry.value_at + entry.size))
        if entry.code in (EXIF, 34853, 40965) and depth:
            inner = directory.inner(entry.code)
            found += [] if inner is None else _used(inner, depth - 1)
    return found


def _exchange(directory: Directory, one: int, other: int) -> None:
    """Exchange the values of two rational numbers."""
    found = [directory.entries.get(code) for code in (one, other)]
    places = [slice(each.value_at, each.value_at + 8) for each in found if each and each.size == 8]
    if len(places) == 2:
        data = directory.data
        data[places[0]], data[places[1]] = bytes(data[places[1]]), bytes(data[places[0]])


def _adjust_positions(inner: Directory, change: Change, lost: list[str]) -> None:
    for code in (_SUBJECT_AREA, _SUBJECT_LOCATION):
        if code not in inner.entries:
            continue
        values = inner.integers(code)
        new: list[float] = []
        if 2 <= len(values) <= 4:
            new += change.point(values[0], values[1], last=1)
            if not change.is_inside(*new):
                new = []
            elif len(values) == 3:  # the diameter of a circle
                vertical, horizontal = change.scale
                new.append(values[2] * (vertical * horizontal) ** 0.5)
            elif len(values) == 4:
                new += change.lengths(values[2], values[3])
        if not new or not inner.set_integers(code, [round(value) for value in new]):
            lost.append("EXIF subject area")
            inner.remove(code)


def _adjust_focal_plane(inner: Directory, change: Change) -> None:
    """Scale the pixels per length of the sensor, from which software computes its size."""
    found = [_rational(inner, code) for code in _FOCAL_PLANE]
    if change.is_turned:
        found.reverse()
    vertical, horizontal = change.scale
    for code, value, factor in zip(_FOCAL_PLANE, found, (horizontal, vertical), strict=True):
        entry = inner.entries.get(code)
        if entry is None or not value or entry.kind not in (5, 10):
            continue
        packed = struct.pack(inner.encoding.order + "II", *_ratio(value * Fraction(factor)))
        inner.data[entry.value_at : entry.value_at + 8] = packed


def _rational(directory: Directory, code: int) -> Fraction | None:
    """Return a positive rational number; None if it is missing or invalid."""
    entry = directory.entries.get(code)
    if entry is None or entry.kind not in (5, 10) or entry.size < 8:
        whole = directory.integers(code)
        return Fraction(whole[0]) if whole and whole[0] > 0 else None
    letter = "I" if entry.kind == 5 else "i"
    form = f"{directory.encoding.order}2{letter}"
    numerator, denominator = struct.unpack_from(form, directory.data, entry.value_at)
    if denominator == 0 or numerator * denominator <= 0:
        return None
    return Fraction(numerator, denominator)


def _ratio(value: Fraction) -> tuple[int, int]:
    """Return the nearest numerator and denominator of 31 bits each."""
    near = value.limit_denominator(10**6) if value > Fraction(1, 10**5) else Fraction(1, 10**5)
    while max(near.numerator, near.denominator) >= 2**31:
        near = near.limit_denominator(max(1, near.denominator // 10))
        if near.denominator == 1:
            return min(near.numerator, 2**31 - 1), 1
    return near.numerator, near.denominator
