"""The colours of a TIFF page, from the numbers that it stores (TIFF 6.0, Adobe 1992)."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from liif.images.opening import RefusedError
from liif.images.png import ImageArray
from liif.images.sample_range import scaled
from liif.images.tiff_pages import Page, counted

WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 8, 9
"""Values of PhotometricInterpretation."""
_COLOURS = {WHITE_IS_0: 1, BLACK_IS_0: 1, RGB: 3, PALETTE: 1, CMYK: 4, CIELAB: 3, ICCLAB: 3, 6: 3}
"""Samples of the colour; 6 is YCbCr."""
_PREMULTIPLIED, _UNASSOCIATED = 1, 2  # kinds of alpha

log = logging.getLogger("liif")


def colour_count(page: Page) -> int:
    """Return how many samples of a page are its colour. Raises RefusedError for kinds of colour
    that are not read, and for several channels that are neither gray nor RGB."""
    if page.photometric not in _COLOURS:
        try:
            name = tifffile.PHOTOMETRIC(page.photometric).name
        except ValueError:
            name = str(page.photometric)
        raise RefusedError(f"pixels of kind {name}; save it as gray or RGB")
    count = _COLOURS[page.photometric]
    if page.photometric in (WHITE_IS_0, BLACK_IS_0) and page.samples > 1:
        if page.samples == 3:
            return 3
        if page.samples > 2 or not has_alpha(page, 1):
            raise RefusedError(f"{page.samples} channels, neither gray nor RGB")
    if page.samples < count or (page.photometric == CMYK and page.tags.tags.valueof(332, 1) != 1):
        raise RefusedError(f"{page.samples} channels, which are not the {count} of its kind")
    return count


def has_alpha(page: Page, colours: int) -> bool:
    """Return whether the sample after the colours is alpha."""
    return page.samples > colours and page.extra[:1] in ((_PREMULTIPLIED,), (_UNASSOCIATED,))


def to_colour(
    page: Page, numbers: npt.NDArray[Any], path: Path
) -> tuple[ImageArray, ImageArray | None]:
    """Return the colour of numbers (H, W, S), uint8 or uint16 (H, W, 1 gray or 3 RGB), or, of 8
    bits, as Pillow's raw modes CMYK and LAB have it; and its alpha (H, W), by which colour is not
    multiplied. Raises RefusedError as `colour_count` and `scaled`."""
    count = colour_count(page)
    alpha = None
    if has_alpha(page, count):
        alpha = scaled(numbers[..., count], 2 ** min(page.bits, 16) - 1)
    if (ignored := page.samples - count - (alpha is not None)) > 0:
        text = "%s: not read besides the colours: %s"
        log.warning(text, path, counted(ignored, "channel"))
    if count == 3 and page.photometric in (WHITE_IS_0, BLACK_IS_0):
        log.info("%s: 3 channels without a kind of colour are read as RGB", path)
    colour = numbers[..., :count]
    if page.photometric == PALETTE:
        return _looked_up(page, colour[..., 0]), None if alpha is None else _bytes(alpha)
    if page.photometric in (CIELAB, ICCLAB):
        if page.kind != "u" or page.bits not in (8, 16):
            raise RefusedError(f"CIELAB of {page.bits} bits; save it as RGB")
        _warn_of_8_bits(page, path)
        high = (colour >> (page.bits - 8)).astype(np.uint8)
        high[..., 1:] ^= 128 if page.photometric == ICCLAB else 0  # to signed numbers
        return high, None if alpha is None else _bytes(alpha)
    colour = scaled(colour, 2 ** min(page.bits, 16) - 1)
    if page.photometric == WHITE_IS_0:
        colour = np.iinfo(colour.dtype).max - colour
    if page.photometric == CMYK:
        _warn_of_8_bits(page, path)
        return _bytes(colour), None if alpha is None else _bytes(alpha)
    if alpha is not None and page.extra[0] == _PREMULTIPLIED:
        largest = np.iinfo(colour.dtype).max
        straight = colour / np.maximum(alpha, 1)[..., None] * largest
        colour = straight.round().clip(0, largest).astype(colour.dtype)
    return colour, alpha


def _looked_up(page: Page, index: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    entries = page.tags.colormap
    if entries is None or entries.shape != (3, 2**page.bits):
        raise ValueError("a palette without its colours")
    colours = np.asarray(entries)
    if colours.max() > 255:  # else old programs wrote 8 bits into the 16, as libtiff guesses, too
        colours = colours >> 8
    return colours.astype(np.uint8).T[index]


def _bytes(values: ImageArray) -> npt.NDArray[np.uint8]:
    return values.astype(np.uint8) if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)


def _warn_of_8_bits(page: Page, path: Path) -> None:
    if page.bits > 8:
        log.warning("%s: only 8 of its %d bits are read", path, page.bits)
