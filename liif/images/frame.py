"""One decoded image, upright."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from liif.images.png import ImageArray


class Frame(NamedTuple):
    """An image, a frame of an animation, or a page of a document."""

    colour: ImageArray
    """uint8 or uint16 (H, W, 1 or 3), gray or RGB, not multiplied by alpha."""
    alpha: ImageArray | None
    """(H, W) of the same dtype; None if all pixels are opaque."""
    info: dict[Any, Any]
    """What Pillow tells of the file; without `icc_profile` if colours were converted."""
    frames: int = 1
    """Number of frames of the animation, or of pages."""
    is_page: bool = False
    turn: int = 1
    """The EXIF orientation that was applied."""
    directory: int = 0
    """Position of the page's tags in a TIFF file."""


def upright_frame(
    colour: ImageArray, alpha: ImageArray | None, info: dict[Any, Any], turn: int
) -> Frame:
    """Return the frame of pixels as stored, turned upright by their EXIF orientation; alpha that is
    opaque everywhere is left out."""
    if alpha is not None and (alpha == np.iinfo(alpha.dtype).max).all():
        alpha = None
    upright = [None if part is None else np.ascontiguousarray(turned(part, turn))
               for part in (colour, alpha)]  # fmt: skip
    assert upright[0] is not None
    return Frame(upright[0], upright[1], info, turn=turn)


def turned(samples: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Apply an EXIF orientation: transpose (5 to 8), then flip."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples[:, ::-1] if orientation in (2, 3, 6, 7) else samples
