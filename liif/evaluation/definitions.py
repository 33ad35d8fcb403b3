"""What a PSNR or an SSIM means: everything that the number depends on beside the pictures.

A definition is a value that is printed in one line and read from that line:

    psnr colour=y-edsr border=s
    ssim colour=rgb border=s+6 sr=8bit padding=reflect

Fields that have their default are left out, but for colour and border.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from liif.core.errors import UserError
from liif.core.sizes import Scale, Size

Colour = Literal["rgb", "y-matlab", "y-edsr", "y-arbsr", "y-full", "y-709", "y-bgr"]
Fraction = Literal["ceil", "floor", "nearest"]
Axes = Literal["each", "largest"]
Rounding = Literal["float", "8bit"]
Gray = Literal["kept", "rgb"]
Over = Literal["images", "pixels"]
COLOURS: Mapping[str, tuple[tuple[float, float, float], float]] = {
    # Weights of R, G and B in [0, 1], and what is added; luma is in [0, 1], too.
    "y-matlab": ((65.481 / 255, 128.553 / 255, 24.966 / 255), 16 / 255),
    "y-edsr": ((65.738 / 256, 129.057 / 256, 25.064 / 256), 16 / 256),
    "y-arbsr": ((65.738 / 255, 129.057 / 255, 25.064 / 255), 16 / 255),
    "y-full": ((0.299, 0.587, 0.114), 0),
    "y-709": ((0.2125, 0.7154, 0.0721), 0),
    "y-bgr": ((24.966 / 255, 128.553 / 255, 65.481 / 255), 16 / 255),
}
"""Luma: MATLAB's rgb2ycbcr, in studio range (16 to 235 of 255); EDSR's, the same to 3e-6; that of
ArbSR's SSIM, coefficients for 256 levels over 255; full range; scikit-image's rgb2gray; and
MATLAB's with red and blue exchanged, as where RGB is given to a function for BGR."""


@dataclass(frozen=True)
class Compared:
    """The pixels that are compared. Of pictures with another number of channels than three, all
    channels are scored as they are."""

    colour: Colour = "rgb"
    border: str = "0"
    """Pixels dropped at each edge: a number, s for the scale, or s+6 for the scale and six more."""
    fraction: Fraction = "ceil"
    """How a border of fractional scale is rounded."""
    axes: Axes = "each"
    """Whether each axis has the border of its own scale, or both that of the larger one."""
    sr: Rounding = "float"
    """Whether the result is rounded to 8 bits first."""
    luma: Rounding = "float"
    """Whether the compared channels of both pictures are rounded to 8 bits: luma computed from
    8-bit pictures in integers."""
    gray: Gray = "kept"
    """Whether a picture of one channel is scored as it is, or as RGB with three equal channels."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d+|s(\+\d+)?", self.border):
            raise ValueError(f"border={self.border}: is a number, s, or s+ a number such as s+6")

    def border_at(self, scale: Scale) -> Size:
        """Return the rows and columns that are dropped at each edge at a scale (y, x)."""
        y, x = scale if self.axes == "each" else (max(scale), max(scale))
        return self._along(y), self._along(x)

    def _along(self, scale: float) -> int:
        if not self.border.startswith("s"):
            return int(self.border)
        value = scale + int(self.border[2:] or 0)
        if self.fraction == "nearest":
            return math.floor(value + 0.5)
        return math.ceil(value) if self.fraction == "ceil" else math.floor(value)

    def __str__(self) -> str:
        """Return the definition's line."""
        shown = [type(self).__name__.lower()]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("colour", "border") or value != field.default:
                shown.append(f"{field.name}={value}")
        return " ".join(shown)


@dataclass(frozen=True)
class Psnr(Compared):
    """10 log10(peak² / (mean squared error + eps)), in dB."""

    eps: float = 0.0
    """Added to the mean squared error of pictures in [0, 1]; 1e-8 limits the result to 80 dB."""
    peak: Literal["1", "range"] = "1"
    """The largest possible value, or the range of the values of the true picture."""
    channels: Literal["all", "each"] = "all"
    """Whether errors are averaged over the channels, or the decibels of each channel."""
    over: Over = "images"
    """Whether a set has the mean of its pictures' decibels, or the decibels of the mean of their
    squared errors, each picture with the weight of its pixels."""


@dataclass(frozen=True)
class Ssim(Compared):
    """Mean structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004), with C1 = (0.01 L)² and
    C2 = (0.03 L)² for a range L."""

    window: Literal["gauss-11", "uniform-7"] = "gauss-11"
    """A Gaussian of 11 px with sigma 1.5, or the mean over 7 × 7 px."""
    padding: Literal["none", "reflect", "replicate", "zero"] = "none"
    """Whether only whole windows count, or how the pictures continue beyond their edges."""
    covariance: Literal["population", "sample"] = "population"
    """Whether variances are divided by the pixels of a window, or by one less."""
    contrast: Literal["kept", "clipped"] = "kept"
    """Whether a negative contrast term counts as 0."""
    shrink: Literal["no", "blocks"] = "no"
    """Whether pictures above 383 px are first averaged over blocks, of a side of 1/256 of theirs.
    """
    peak: Literal["1", "range"] = "1"
    """L: the largest possible value, or the larger range of the values of the two pictures."""
    channels: Literal["mean", "volume"] = "mean"
    """Whether channels are compared one by one, or the picture is a volume with windows along the
    channels, too, as in MATLAB's `ssim` of an RGB array."""


Definition = Psnr | Ssim


def parse(line: str) -> Definition:
    """Return the definition of a line; its first word is psnr or ssim. Raises UserError."""
    kind, *parts = line.split()
    types: dict[str, type[Psnr] | type[Ssim]] = {"psnr": Psnr, "ssim": Ssim}
    if kind not in types:
        raise UserError(f"{line!r}: a definition starts with psnr or ssim, not {kind!r}")
    hints = get_type_hints(types[kind])
    values: dict[str, Any] = {}
    for part in parts:
        key, _, value = part.partition("=")
        if key not in hints or not value:
            raise UserError(f"{line!r}: {part!r} is not one of {', '.join(hints)} with =VALUE")
        choices = get_args(hints[key])
        if choices and value not in choices:
            raise UserError(f"{line!r}: {key} is one of {', '.join(choices)}, not {value!r}")
        values[key] = _number(line, value) if hints[key] is float else value
    try:
        return types[kind](**values)
    except ValueError as error:
        raise UserError(f"{line!r}: {error}") from None


def _number(line: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number < 1:
        raise UserError(f"{line!r}: eps is a number from 0 to 1 such as 1e-8, not {value!r}")
    return number
