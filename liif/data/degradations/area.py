"""Reduction by the mean over the area of each low-resolution pixel."""

from typing import Literal

import numpy as np
from PIL.Image import Resampling

from liif.core.sizes import Size
from liif.data.degradations.degradation import Degradation, Image
from liif.images.resize import pillow_resize


class AreaConfig(Degradation):
    """Configuration of the reduction by area: every low-resolution pixel is the mean of the pixels
    whose centres it covers."""

    name: Literal["area"] = "area"

    def apply(self, hr: Image, size: Size, rng: np.random.Generator) -> Image:
        return pillow_resize(hr, size, Resampling.BOX)
