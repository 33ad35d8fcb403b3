"""Which low- and high-resolution images belong together, by names as other people's tools wrote
them: `Canon_001_LR4.png` and `Canon_001_HR.png` (RealSR), `0001x4m.png` (DIV2K, mild),
`img_001_SRF_4_LR.png` (SRF sets), in upper or lower case."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

_SCALE = r"(?P<scale>\d+(?:\.\d+)?)"
_ENDINGS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"[_\-. ](?P<role>lr|lq|hr|hq|gt)[_\-. ]?(?:x?{_SCALE})?$",
        rf"[_\-. ]?x{_SCALE}(?:[md]|w\d?)?$",  # DIV2K: mild, difficult, wild
        rf"[_\-. ]{_SCALE}x$",
        rf"[_\-. ]srf[_\-. ]?{_SCALE}$",
        r"[_\-. ](?:lr)?(?:bicubic|bic|bi|bd|dn)$",
    )
]
"""What may follow the name of a picture."""
_LR_FOLDER = re.compile(r"(lr|lq)([_\-. x\d]|$)", re.IGNORECASE)
_HR_FOLDER = re.compile(r"(hr|hq|gt)([_\-. ]|$)", re.IGNORECASE)


class ImageName(NamedTuple):
    """What the name of an image says of it."""

    key: str
    """Path without suffix, resolution and scale, in lower case."""
    role: Literal["lr", "hr"] | None
    scale: float | None


def read_name(name: str) -> ImageName:
    """Return what a path, relative to its folder, says of the image."""
    path = PurePosixPath(name)
    stem, role, scale = path.stem, None, None
    for _ in range(4):
        found = next((m for each in _ENDINGS if (m := each.search(stem)) and m.start()), None)
        if found is None:
            break
        groups = found.groupdict()
        if groups.get("role"):
            role = "lr" if groups["role"].lower() in ("lr", "lq") else "hr"
        scale = float(groups["scale"]) if groups.get("scale") else scale
        stem = stem[: found.start()]
    return ImageName((path.parent / stem).as_posix().casefold(), role, scale)


def match_by_endings(
    lr_names: Sequence[str], hr_names: Sequence[str], scale: float | None, *, is_one_folder: bool
) -> list[tuple[int, int]] | None:
    """Return (index in lr_names, index in hr_names) of each pair, in the order of hr_names; None
    if an image has no partner, or several. In one folder of both kinds, names tell which is which.
    """
    lr = {i: read_name(name) for i, name in enumerate(lr_names)}
    hr = {j: read_name(name) for j, name in enumerate(hr_names)}
    lr = {i: name for i, name in lr.items() if name.role != "hr"}
    hr = {j: name for j, name in hr.items() if name.role != "lr"}
    if is_one_folder:
        lr = {i: name for i, name in lr.items() if name.role == "lr" or name.scale is not None}
        hr = {j: name for j, name in hr.items() if name.role == "hr" or j not in lr}
    if scale is not None and any(name.scale == scale for name in lr.values()):
        lr = {i: name for i, name in lr.items() if name.scale in (None, scale)}
    by_key = {name.key: i for i, name in lr.items()}
    keys = [name.key for name in hr.values()]
    if not keys or len(by_key) < len(lr) or Counter(keys) != Counter(by_key.keys()):
        return None
    return [(by_key[name.key], j) for j, name in hr.items()]


def mixture(names: Iterable[str]) -> tuple[str, str] | None:
    """Return a low- and a high-resolution image, or a folder of each, if these names are of both
    kinds; None if they are not."""
    by_role: Mapping[str, dict[str, str]] = {"lr": {}, "hr": {}}
    for name in names:
        read = read_name(name)
        if read.role is not None:
            by_role[read.role].setdefault(read.key, name)
        for part in PurePosixPath(name).parts[:-1]:
            for role, pattern in (("lr", _LR_FOLDER), ("hr", _HR_FOLDER)):
                if pattern.match(part):
                    by_role[role].setdefault("/", part)
    both = by_role["lr"].keys() & by_role["hr"].keys()
    return (by_role["lr"][key], by_role["hr"][key]) if (key := min(both, default="")) else None
