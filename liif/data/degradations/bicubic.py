"""Bicubic reduction in the four flavours of the literature, exactly.

All four are antialiased and have a = -0.5 (Keys 1981). They differ at the border, in the rounding
between the two passes and in the order of the passes: up to some tenths of a decibel in PSNR.
"""

from typing import Literal

import numpy as np

from liif.core.sizes import Size
from liif.data.degradations.degradation import Degradation, Image
from liif.images.resize import Border, matlab_bicubic, pillow_bicubic, torch_bicubic


class BicubicConfig(Degradation):
    """Configuration of the bicubic reduction."""

    name: Literal["bicubic"] = "bicubic"
    flavour: Literal["pillow", "matlab-2014", "matlab", "torch"] = "pillow"
    """pillow: as in training code since LIIF. matlab-2014: MATLAB's imresize before R2015b, as
    published low-resolution sets were made, which repeats the outermost pixels. matlab: MATLAB's
    imresize today, which mirrors the image at its edge. torch: PyTorch's interpolation with
    antialiasing, as in torchvision."""

    def apply(self, hr: Image, size: Size, rng: np.random.Generator) -> Image:
        match self.flavour:
            case "pillow":
                return pillow_bicubic(hr, size)
            case "torch":
                return torch_bicubic(hr, size)
            case "matlab-2014":
                return _matlab(hr, size, "replicate")
            case "matlab":
                return _matlab(hr, size, "mirror")


def _matlab(hr: Image, size: Size, border: Border) -> Image:
    if hr.dtype == np.float32:
        return matlab_bicubic(hr.astype(np.float64), size, border=border).clip(0, 1).astype("f4")
    return matlab_bicubic(hr, size, border=border)  # pyright: ignore[reportArgumentType]
