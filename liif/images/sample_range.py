"""Map the numbers of an image file to unsigned integers of 8 or 16 bits."""

from typing import Any

import numpy as np
import numpy.typing as npt

from liif.images.opening import RefusedError


def scaled(numbers: npt.NDArray[Any], largest: int = 65535) -> npt.NDArray[np.uint8 | np.uint16]:
    """Return unsigned integers as uint8 if `largest`, which stands for white, is below 256, else as
    uint16, with white 255 or 65535.

    Floating-point numbers have 1 for white and become 16 bits. Raises RefusedError for numbers
    outside of 0 to white: their range is not known.
    """
    if numbers.dtype.kind == "f":
        low, high = numbers.min(), numbers.max()
        if not (low >= 0 and high <= 1):
            finite = "values that are not finite" if not np.isfinite(low + high) else ""
            raise RefusedError(
                f"floating-point pixels, {finite or f'from {low:g} to {high:g}'}: only 0 (black) "
                "to 1 (white) is read; rescale it, or save it as 8 or 16 bit"
            )
        return (numbers.astype(np.float64) * 65535).round().astype(np.uint16)
    if numbers.dtype.itemsize > 2 or numbers.dtype.kind == "i":
        kind = f"{8 * numbers.dtype.itemsize}-bit"
        if numbers.min() < 0:
            raise RefusedError(f"signed {kind} pixels, some below 0; save it as unsigned")
        if numbers.max() > 65535:
            raise RefusedError(f"{kind} pixels beyond the 16-bit range; save it as 8 or 16 bit")
        return numbers.astype(np.uint16)
    white = 255 if largest < 256 else 65535
    dtype = np.uint8 if largest < 256 else np.uint16
    if largest == white:
        return numbers.astype(dtype)
    return ((numbers.astype(np.uint32) * white + largest // 2) // largest).astype(dtype)
