"""Blur with a random kernel."""

import math
from typing import Annotated, Literal

import numpy as np
import pydantic

from liif.core.section import Section
from liif.data.degradations import kernels
from liif.data.degradations.degradation import Planes
from liif.data.degradations.kernels import Kernel
from liif.data.degradations.step import Goal, Range, Step, ordered


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"must be odd, so that the kernel has a centre, not {size}")
    return size


KernelSize = Annotated[int, pydantic.Field(ge=1, le=201), pydantic.AfterValidator(_odd)]
Weight = Annotated[float, pydantic.Field(ge=0, le=1000)]
Beta = Annotated[float, pydantic.Field(ge=0.1, le=20)]
Angle = Annotated[float, pydantic.Field(gt=0, le=math.pi)]


class KernelWeights(Section):
    """How often each kind of kernel is drawn, relative to the others."""

    isotropic: Weight = 0.0
    """Gaussian of one standard deviation."""
    anisotropic: Weight = 0.0
    """Gaussian of two standard deviations, at a random angle."""
    generalised_isotropic: Weight = 0.0
    generalised_anisotropic: Weight = 0.0
    plateau_isotropic: Weight = 0.0
    plateau_anisotropic: Weight = 0.0
    sinc: Weight = 0.0
    """Circular low-pass filter, which leaves ringing at edges."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "KernelWeights":
        if not any(weight for _, weight in self):
            raise ValueError("at least one kind of kernel needs a weight above 0")
        return self


class BlurConfig(Step):
    """Configuration of a blur."""

    name: Literal["blur"] = "blur"
    kernels: KernelWeights = KernelWeights(isotropic=1)
    size: Annotated[tuple[KernelSize, KernelSize], ordered] = (7, 21)
    """Side of the kernel in pixels; odd numbers are drawn."""
    sigma: Range = (0.2, 3.0)
    """Standard deviation in pixels of the image that is blurred."""
    sigma_per_scale: Weight = 0.0
    """Added to the upper end of `sigma`, times the scale of the degradation."""
    variance: bool = False
    """Draw the squares of standard deviations from `sigma`, which then holds variances."""
    generalised_beta: Annotated[tuple[Beta, Beta], ordered] = (0.5, 4.0)
    """Exponent of generalised Gaussians; half of them are drawn below 1."""
    plateau_beta: Annotated[tuple[Beta, Beta], ordered] = (1.0, 2.0)
    """Exponent of plateaus; half of them are drawn below 1, if the range reaches there."""
    cutoff: Annotated[tuple[Angle, Angle], ordered] | None = None
    """Cutoff of the sinc in radians per pixel; null for [π/3, π] in kernels below 13 pixels and
    [π/5, π] in others."""

    def apply(self, image: Planes, goal: Goal, rng: np.random.Generator) -> tuple[Planes, str]:
        kinds, weights = zip(*self.kernels, strict=True)
        kind: str = kinds[rng.choice(len(kinds), p=np.array(weights) / sum(weights))]
        size = draw_odd(self.size, rng)
        if kind == "sinc":
            cutoff = rng.uniform(*(self.cutoff or (math.pi / (3 if size < 13 else 5), math.pi)))
            return convolve(image, kernels.sinc(size, cutoff)), f"sinc {cutoff:.2f}"
        first, second = self._sigma(goal, rng), self._sigma(goal, rng)
        angle = rng.uniform(0, math.pi)
        if not kind.endswith("anisotropic"):
            second, angle = first, 0.0
        sigma = max(first, 1e-3), max(second, 1e-3)
        if kind.startswith("generalised"):
            beta = _beta(self.generalised_beta, rng)
            kernel = kernels.generalised_gaussian(size, sigma, angle, beta)
        elif kind.startswith("plateau"):
            kernel = kernels.plateau(size, sigma, angle, _beta(self.plateau_beta, rng))
        else:
            kernel = kernels.gaussian(size, sigma, angle)
        width = f"{first:.1f}" if first == second else f"{first:.1f}x{second:.1f}"
        return convolve(image, kernel), f"{kind.replace('_', ' ')} {width}"

    def _sigma(self, goal: Goal, rng: np.random.Generator) -> float:
        low, high = self.sigma
        drawn = rng.uniform(low, max(low, high + self.sigma_per_scale * goal.scale))
        return math.sqrt(drawn) if self.variance else drawn


def _beta(bounds: tuple[float, float], rng: np.random.Generator) -> float:
    """Draw an exponent: half of them from the part below 1."""
    low, high = bounds
    limit = min if rng.random() < 0.5 else max
    return rng.uniform(limit(low, 1), limit(high, 1))


def draw_odd(bounds: tuple[int, int], rng: np.random.Generator) -> int:
    """Draw an odd number between two odd ones, inclusive."""
    return 2 * int(rng.integers(bounds[0] // 2, bounds[1] // 2, endpoint=True)) + 1


def convolve(image: Planes, kernel: Kernel) -> Planes:
    """Return the convolution of (C, H, W) with a kernel, mirrored at the border, with values
    limited to [0, 1]."""
    _, H, W = image.shape
    r = len(kernel) // 2
    padded = np.pad(image, ((0, 0), (r, r), (r, r)), mode="reflect")
    size = _fast_length(H + 2 * r), _fast_length(W + 2 * r)
    spectrum = np.fft.rfft2(padded, size) * np.fft.rfft2(kernel.astype(np.float32), size)
    result = np.fft.irfft2(spectrum, size)[:, 2 * r : 2 * r + H, 2 * r : 2 * r + W]
    return result.clip(0, 1).astype(np.float32)


def _fast_length(n: int) -> int:
    """Return the smallest number from n on that has no prime factor above 5."""
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 1
