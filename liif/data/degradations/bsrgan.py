"""The degradation of BSRGAN (Zhang, Liang, Van Gool, Timofte: "Designing a Practical Degradation
Model for Deep Blind Image Super-Resolution", ICCV 2021, sec. 3, and its published code).

Blurs, resizes, noise and JPEG in random order, and a last JPEG. The noise of a processed camera
sensor, which needs a model of its own, is left out. Ranges that are published for x2 and x4 are
linear in the scale here.
"""

from typing import Literal

from liif.data.degradations.blur import BlurConfig, KernelWeights
from liif.data.degradations.compression import JpegConfig
from liif.data.degradations.noise import NoiseConfig
from liif.data.degradations.pipeline import Stage, StagedConfig
from liif.data.degradations.rescale import ReduceConfig, ResizeConfig

HALVED = Stage(
    # Published for x4 only; at other scales the image keeps at least twice its final size.
    steps=(ResizeConfig(factor=(0.5, 0.5), least=2.0),),
    probability=0.25,
)
SHUFFLED = Stage(
    steps=(
        BlurConfig(kernels=KernelWeights(isotropic=1), sigma=(0.1, 2.0), sigma_per_scale=0.2),
        BlurConfig(
            kernels=KernelWeights(anisotropic=1), sigma=(0.5, 4.0), sigma_per_scale=1, variance=True
        ),
        # "Down-up": one of four kinds of reduction, by way of half the final size to the present.
        ResizeConfig(
            factor=(0.5, None), of="output", filters=("bilinear", "bicubic"), probability=0.25
        ),
        ReduceConfig(filters=("nearest", "bilinear", "bicubic")),
        NoiseConfig(gaussian=(1, 25), gray=0.4, correlated=0.2),
        JpegConfig(quality=(30, 95), probability=0.9),
    ),
    shuffle=True,
)
LAST = Stage(steps=(JpegConfig(quality=(30, 95)),))


class BsrganConfig(StagedConfig):
    """Configuration of the degradation of BSRGAN, with the published ranges."""

    name: Literal["bsrgan"] = "bsrgan"
    stages: tuple[Stage, ...] = (HALVED, SHUFFLED, LAST)
    """The published ones, unless others are given."""
