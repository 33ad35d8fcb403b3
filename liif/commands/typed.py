"""Sizes, scales and regions as argparse types."""

import argparse

from liif.core.sizes import Size, Window
from liif.figures.crops import Box


def scale(text: str) -> tuple[float, float]:
    """Parse S or SY,SX as (vertical, horizontal)."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 < n <= 1000 for n in numbers):
        raise argparse.ArgumentTypeError(f"{text}: must be a number above 0, up to 1000, or SY,SX")
    return numbers[0], numbers[-1]


def size(text: str) -> Size:
    """Parse WIDTHxHEIGHT as (H, W)."""
    width, times, height = text.lower().partition("x")
    sides = [int(s) if s.isascii() and s.isdecimal() else 0 for s in (width, height)]
    if not times or not 1 <= min(sides) <= max(sides) <= 10**6:
        raise argparse.ArgumentTypeError(f"{text}: must be WIDTHxHEIGHT, e.g. 3840x2160")
    return sides[1], sides[0]


def side(text: str) -> int:
    """Parse a number of pixels."""
    side = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= side <= 10**6:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of pixels")
    return side


def crop(text: str) -> Window:
    """Parse X,Y,W,H, fractions allowed."""
    try:
        x, y, w, h = (float(part) for part in text.split(","))
    except ValueError:
        x = y = w = h = -1.0
    if not (0 <= x < 1e9 and 0 <= y < 1e9 and 0 < w < 1e9 and 0 < h < 1e9):
        raise argparse.ArgumentTypeError(f"{text}: must be X,Y,W,H, e.g. 10,20.5,64,48")
    return Window(y, x, h, w)


def box(text: str) -> Box:
    """Parse X,Y,W,H in whole pixels."""
    y, x, h, w = crop(text)
    box = Box(int(x), int(y), int(w), int(h))
    if (x, y, w, h) != box:
        raise argparse.ArgumentTypeError(f"{text}: must be whole pixels: left, top, width, height")
    return box
