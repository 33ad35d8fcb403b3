"""Reduction with a Lanczos kernel of three lobes."""

from typing import Literal

import numpy as np
from PIL.Image import Resampling

from liif.core.sizes import Size
from liif.data.degradations.degradation import Degradation, Image
from liif.images.resize import pillow_resize


class LanczosConfig(Degradation):
    """Configuration of the antialiased reduction with Pillow's Lanczos of three lobes."""

    name: Literal["lanczos"] = "lanczos"

    def apply(self, hr: Image, size: Size, rng: np.random.Generator) -> Image:
        return pillow_resize(hr, size, Resampling.LANCZOS)
