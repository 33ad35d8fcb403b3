"""The output path of each input picture: a file, a folder, or a pattern."""

import glob
import os
import string
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from liif.core.errors import UserError
from liif.core.sizes import Size
from liif.images.suffixes import TARGETS

FIELDS = ("stem", "suffix", "name", "folder", "scale", "width", "height")
"""Fields of a name pattern; {folder} is the picture's folder, relative to the input folder."""

DEFAULT_PATTERN = "{stem}-x{scale}{suffix}"
"""Name of an output, beside its input, without --output."""


class InputPicture(NamedTuple):
    """A picture to enlarge."""

    path: Path
    folder: Path
    """Folder of the picture, relative to the input folder; "." for a picture given as a file."""


class OutputPlace(NamedTuple):
    """Where outputs go: a file, a folder, or a pattern; beside the inputs if none is given."""

    file: Path | None = None
    folder: Path | None = None
    pattern: str | None = None
    ending: str | None = None
    """End of the stems of results in a folder, or beside the inputs instead of -x{scale}."""

    def path_for(self, picture: InputPicture, scale: tuple[float, float], size: Size) -> Path:
        """Return the output path of a picture enlarged by `scale` (y, x) to `size` (H, W)."""
        if self.file is not None:
            return self.file
        path = picture.path
        suffix = path.suffix if path.suffix.lower() in TARGETS else ".png"
        if self.folder is not None:
            return self.folder / picture.folder / f"{path.stem}{self.ending or ''}{suffix}"
        if self.ending is not None:
            return path.with_name(f"{path.stem}{self.ending}{suffix}")
        factors = list(dict.fromkeys(f"{factor:.4g}" for factor in scale))
        name = (self.pattern or DEFAULT_PATTERN).format(
            stem=path.stem, suffix=suffix, name=f"{path.stem}{suffix}", folder=picture.folder,
            scale=",".join(factors), width=size[1], height=size[0],
        )  # fmt: skip
        return path.with_name(name) if self.pattern is None else Path(os.path.normpath(name))


def parse_output(text: str | None, given: Sequence[Path]) -> OutputPlace:
    """Parse --output: a pattern if it has braces; a folder if it exists as one, ends in a slash or
    has no suffix; else a file. `given` are the inputs as typed. Raises UserError if a pattern has
    unknown fields, several inputs would be written to one file, or the format cannot be written."""
    if text is None:
        return OutputPlace()
    if "{" in text or "}" in text:
        return OutputPlace(pattern=_check_pattern(text))
    path = Path(text)
    if path.is_dir() or text.endswith(("/", os.sep)) or not path.suffix:
        return OutputPlace(folder=path)
    if path.suffix.lower() not in TARGETS:
        raise UserError(f"{path}: cannot write this format; use one of {' '.join(TARGETS)}")
    first = given[0]
    if len(given) > 1 or first.is_dir() or (glob.has_magic(str(first)) and not first.exists()):
        raise UserError(f"{path}: one file for several pictures; name a folder or a pattern")
    return OutputPlace(file=path)


def _check_pattern(pattern: str) -> str:
    known = "{" + "} {".join(FIELDS) + "}"
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise UserError(f"--output {pattern}: {error}; {{{{ and }}}} stand for braces") from None
    for _, field, form, conversion in parts:
        if field is not None and (field not in FIELDS or form or conversion):
            raise UserError(f"--output {pattern}: {{{field}}} is unknown; use {known}")
    if not any(field in ("stem", "name") for _, field, _, _ in parts):
        raise UserError(f"--output {pattern}: all outputs would have the same name; use {{stem}}")
    suffix = Path(pattern).suffix.lower()
    if not pattern.endswith(("{suffix}", "{name}")) and suffix not in TARGETS:
        raise UserError(f"--output {pattern}: must end in {{suffix}} or one of {' '.join(TARGETS)}")
    return pattern
