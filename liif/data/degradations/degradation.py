"""What every degradation is: a function from a high-resolution image to a low-resolution one."""

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pydantic

from liif.core.section import Section
from liif.core.sizes import Size

Image = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
"""(H, W, C), at least one pixel; integers use their whole range, floats are in [0, 1]."""

Planes = npt.NDArray[np.float32]
"""(C, H, W), values in [0, 1]."""

Probability = Annotated[float, pydantic.Field(ge=0, le=1)]


class Degradation(Section):
    """Base class of the configuration of a degradation, with the function that it configures.

    A subclass states `name`, its options, and `apply`. It is a pure function: everything random
    comes from the generator that it is given.
    """

    name: Any  # a Literal in every subclass

    def apply(self, hr: Image, size: Size, rng: np.random.Generator) -> Image:
        """Return the low-resolution image (h, w, C) of `hr` (H, W, C), in its dtype.

        Args:
            hr: high-resolution image or crop; it is not changed.
            size: (h, w), at least one pixel each, at most the size of `hr`.
            rng: source of all random numbers.
        """
        raise NotImplementedError

    def trace(
        self, hr: Image, size: Size, rng: np.random.Generator
    ) -> tuple[Image, tuple[str, ...]]:
        """Return the image of `apply`, and a few words on each step that was applied."""
        return self.apply(hr, size, rng), (self.name,)


def to_planes(image: Image) -> Planes:
    """Return (H, W, C) of any dtype as float32 (C, H, W) in [0, 1]."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
    if image.dtype == np.float32:
        return planes
    return np.divide(planes, _largest(image.dtype), dtype=np.float32)


def from_planes(planes: Planes, dtype: np.dtype[Any]) -> Image:
    """Return (C, H, W) as (H, W, C) of a dtype, limited to [0, 1] and rounded to its values."""
    planes = planes.clip(0, 1)
    if dtype != np.float32:
        planes = np.rint(planes * np.float32(_largest(dtype)))
    return np.ascontiguousarray(planes.transpose(1, 2, 0)).astype(dtype)


def _largest(dtype: np.dtype[Any]) -> int:
    return np.iinfo(dtype.name).max
