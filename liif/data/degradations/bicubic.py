"""Bicubic reduction in the four flavours of the literature, exactly.

All four are antialiased and have a = -0.5 (Keys 1981). They differ at the border, in the rounding
between the two passes and in the order of the passes: up to some tenths of a decibel in PSNR.
"""

from typing import Literal

import numpy as np

from liif.core.sizes import Size
from liif.data.degradations.degradation import Degradation, Image, limited
from liif.images.resize import matlab_bicubic, pillow_bicubic, torch_bicubic


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
                return limited(pillow_bicubic(hr, size))
            case "torch":
                return limited(torch_bicubic(hr, size))
            case "matlab-2014":
                return limited(matlab_bicubic(hr, size, border="replicate"))
            case "matlab":
                return limited(matlab_bicubic(hr, size, border="mirror"))
