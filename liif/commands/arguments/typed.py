"""Numbers, sizes and regions as argparse types."""

import re
from argparse import ArgumentTypeError
from pathlib import Path

from liif.core.sizes import Box, Size, Window


def path(text: str) -> Path:
    """Return a path, which may not be empty: that would be the current folder."""
    if not text:
        raise ArgumentTypeError("an empty name; is a variable of the shell not set?")
    return Path(text)


def whole(text: str) -> int:
    """Return the whole number that a text is, or -1."""
    return int(text) if text.isascii() and text.isdecimal() else -1


def _numbers(text: str) -> list[float]:
    """Return the numbers between commas, or [] if one is not a number."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return []


def scale(text: str) -> tuple[float, float]:
    """Parse S, xS or Sx, or SYxSX or SY,SX as (vertical, horizontal)."""
    plain = _without_x(text)
    if found := re.fullmatch(r"(\d+),(\d+)", plain):
        one, two = f"{found[1]}.{found[2]}", f"{found[1]}x{found[2]}"
        reason = f"may be one factor or two; write {one}, or {two} (height x width)"
        raise ArgumentTypeError(f"{text}: {reason}")
    numbers = _numbers(plain.replace("x", ","))
    if len(numbers) not in (1, 2) or not all(0 < n <= 1000 for n in numbers):
        raise ArgumentTypeError(f"{text}: must be a number above 0, up to 1000, or SYxSX")
    return numbers[0], numbers[-1]


def _without_x(text: str) -> str:
    """Return a factor without the x of x2 or 2x."""
    return text.strip().lower().replace("×", "x").removeprefix("x").removesuffix("x")


def factor(text: str) -> float:
    """Parse a factor by which a model enlarges: S, xS or Sx."""
    numbers = _numbers(_without_x(text))
    if len(numbers) != 1 or not 1 <= numbers[0] <= 1000:
        raise ArgumentTypeError(f"{text}: must be a number from 1 to 1000")
    return numbers[0]


def factors(text: str) -> list[float]:
    numbers = _numbers(",".join(map(_without_x, text.split(","))))
    if not numbers or not all(1 <= n <= 1000 for n in numbers):
        raise ArgumentTypeError(f"{text}: must be numbers from 1 to 1000, e.g. 2,3.5,8")
    return numbers


def size(text: str) -> Size:
    """Parse WIDTHxHEIGHT as (H, W)."""
    sides = [whole(part.strip()) for part in text.lower().replace("×", "x").split("x")]
    if len(sides) != 2 or not 1 <= min(sides) <= max(sides) <= 10**6:
        raise ArgumentTypeError(f"{text}: must be WIDTHxHEIGHT, e.g. 3840x2160")
    return sides[1], sides[0]


def side(text: str) -> int:
    if not 1 <= whole(text) <= 10**6:
        raise ArgumentTypeError(f"{text}: must be a whole number of pixels")
    return whole(text)


def quality(text: str) -> int:
    if not 1 <= whole(text) <= 100:
        raise ArgumentTypeError(f"{text}: must be a whole number from 1 to 100")
    return whole(text)


def name_part(text: str) -> str:
    """Parse the end of a file's stem; a letter or digit is separated by an underscore."""
    if any(sign in text for sign in "/\\{}") or text.startswith(".") or not text.isprintable():
        reason = "must be the end of a name, e.g. _large; -o '{stem}.png' chooses the format"
        raise ArgumentTypeError(f"{text}: {reason}")
    return f"_{text}" if text[:1].isalnum() else text


def crop(text: str) -> Window:
    """Parse X,Y,W,H, fractions allowed."""
    numbers = _numbers(text)
    if len(numbers) != 4 or not all(0 <= n < 1e9 for n in numbers) or 0 in numbers[2:]:
        raise ArgumentTypeError(f"{text}: must be X,Y,W,H, e.g. 10,20.5,64,48")
    x, y, w, h = numbers
    return Window(y, x, h, w)


def box(text: str) -> Box:
    """Parse X,Y,W,H in whole pixels."""
    y, x, h, w = crop(text)
    if not all(n.is_integer() for n in (x, y, w, h)):
        raise ArgumentTypeError(f"{text}: must be X,Y,W,H in whole pixels, left and top first")
    return Box(int(x), int(y), int(w), int(h))
