"""The degradation of Real-ESRGAN (Wang, Xie, Dong, Shan: "Real-ESRGAN: Training Real-World Blind
Super-Resolution with Pure Synthetic Data", ICCVW 2021, sec. 3 and 4.1, and its published options
for x4 and x2).

Two orders of blur, resize, noise and JPEG; in the end the image is brought to its size, followed by
a sinc filter, before or after the last JPEG.
"""

from typing import Literal

from liif.data.degradations.blur import BlurConfig, KernelWeights
from liif.data.degradations.compression import JpegConfig
from liif.data.degradations.noise import NoiseConfig
from liif.data.degradations.pipeline import Stage, StagedConfig
from liif.data.degradations.rescale import ReduceConfig, ResizeConfig

# One in ten kernels is a sinc; the other six kinds share the rest as published.
_KERNELS = KernelWeights(
    isotropic=0.9 * 0.45,
    anisotropic=0.9 * 0.25,
    generalised_isotropic=0.9 * 0.12,
    generalised_anisotropic=0.9 * 0.03,
    plateau_isotropic=0.9 * 0.12,
    plateau_anisotropic=0.9 * 0.03,
    sinc=0.1,
)

FIRST = Stage(
    steps=(
        BlurConfig(kernels=_KERNELS, sigma=(0.2, 3)),
        # 0.15 is 0.6 of the low-resolution size at x4. At smaller scales the image is not reduced
        # below that: at x1 nothing would be left of it.
        ResizeConfig(factor=(0.15, 1.5), up=0.2, down=0.7, least=0.6),
        NoiseConfig(gaussian=(1, 30), poisson=(0.05, 3), poisson_share=0.5, gray=0.4),
        JpegConfig(quality=(30, 95)),
    )
)
SECOND = Stage(
    steps=(
        BlurConfig(kernels=_KERNELS, sigma=(0.2, 1.5), probability=0.8),
        ResizeConfig(factor=(0.3, 1.2), up=0.3, down=0.4, of="output"),
        NoiseConfig(gaussian=(1, 25), poisson=(0.05, 2.5), poisson_share=0.5, gray=0.4),
    )
)
LAST = Stage(steps=(ReduceConfig(sinc=0.8), JpegConfig(quality=(30, 95))), shuffle=True)


class RealEsrganConfig(StagedConfig):
    """Configuration of the degradation of Real-ESRGAN, with the published ranges."""

    name: Literal["real-esrgan"] = "real-esrgan"
    stages: tuple[Stage, ...] = (FIRST, SECOND, LAST)
    """The published ones, unless others are given."""
