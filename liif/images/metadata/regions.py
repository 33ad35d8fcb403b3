"""Regions in XMP, such as faces, and their places in an enlarged picture.

Names: Guidelines for Handling Image Metadata (MWG), IPTC Photo Metadata, Microsoft's People Tags.
"""

import re
from typing import NamedTuple

from liif.images.metadata.packet import Packet
from liif.images.metadata.record import Change


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


def number_of(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[+-]?(\d{1,9}\.?\d{0,40}|\.\d{1,40})", text) else None


def adjust_regions(packet: Packet, change: Change, lost: list[str]) -> None:
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
        numbers = [number_of(part.strip()) for part in text.split(",")]
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


def _applied_to(packet: Packet) -> tuple[int, int] | None:
    """Return the (H, W) for which regions are stated."""
    for block in packet.blocks("mwg-rs", "AppliedToDimensions"):
        found = [packet.pattern("stDim", side).search(block) for side in "hw"]
        sides = [number_of(each[2]) for each in found if each]
        if len(sides) == 2 and None not in sides:
            return int(sides[0] or 0), int(sides[1] or 0)
    return None


def _with_areas(packet: Packet, block: str, names: _Regions, change: Change) -> str | None:
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
        values = [number_of(text) for _, _, text in places]
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
