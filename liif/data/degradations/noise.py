"""Gaussian and Poisson noise."""

from typing import Annotated, Literal

import numpy as np
import pydantic

from liif.data.degradations.degradation import Planes, Probability
from liif.data.degradations.step import Goal, Range, Step, ordered

Sigma = Annotated[float, pydantic.Field(ge=0, le=255)]


class NoiseConfig(Step):
    """Configuration of noise: Gaussian noise, or Poisson noise as of counted photons."""

    name: Literal["noise"] = "noise"
    gaussian: Annotated[tuple[Sigma, Sigma], ordered] = (1.0, 30.0)
    """Standard deviation of Gaussian noise, in gray levels of 8 bits."""
    poisson: Range = (0.05, 3.0)
    """Factor of Poisson noise; 1 is that of an image with as many photons at white as it has gray
    levels."""
    poisson_share: Probability = 0.0
    """Probability of Poisson instead of Gaussian noise."""
    gray: Probability = 0.0
    """Probability that all channels get the same noise."""
    correlated: Probability = 0.0
    """Probability that the channels of Gaussian noise get a random covariance, of the strength of
    the upper end of `gaussian`."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "NoiseConfig":
        if self.gray + self.correlated > 1:
            raise ValueError("gray, correlated: their sum must be at most 1")
        return self

    def apply(self, image: Planes, goal: Goal, rng: np.random.Generator) -> tuple[Planes, str]:
        poisson, kind = rng.random() < self.poisson_share, rng.random()
        gray = kind < self.gray
        if poisson:
            strength = rng.uniform(*self.poisson)
            noise, words = _poisson(image, gray, rng) * np.float32(strength), "Poisson"
        else:
            strength, words = rng.uniform(*self.gaussian), "Gaussian"
            noise = rng.standard_normal((1 if gray else len(image), *image.shape[1:]), np.float32)
            if not gray and kind < self.gray + self.correlated:
                strength, words = self.gaussian[1], "correlated Gaussian"
                noise = np.tensordot(_mixing(len(image), rng), noise, axes=1)
            noise = noise * np.float32(strength / 255)
        result = np.clip(image + noise, 0, 1)
        return result, f"{'gray ' if gray else ''}{words} {strength:.2g}"


def _poisson(image: Planes, gray: bool, rng: np.random.Generator) -> Planes:
    """Return Poisson noise of strength 1, (C, H, W), or (1, H, W) if gray. As in the published
    code, the number of photons at white is the number of gray levels in the image, rounded up to a
    power of two."""
    if gray and len(image) > 1:
        image = _luma(image)
    levels = np.rint(image * 255).astype(np.uint8)
    photons = 2.0 ** np.ceil(np.log2(np.count_nonzero(np.bincount(levels.ravel(), minlength=256))))
    mean = levels * (photons / 255)
    return ((rng.poisson(mean) - mean) / photons).astype(np.float32)


def _luma(image: Planes) -> Planes:
    """Return (1, H, W): BT.601 luma of three channels, the mean of others."""
    weights = (0.299, 0.587, 0.114) if len(image) == 3 else [1 / len(image)] * len(image)
    return np.tensordot(np.array([weights], np.float32), image, axes=1)


def _mixing(channels: int, rng: np.random.Generator) -> Planes:
    """Return a matrix M (C, C), so that M times white noise has the covariance of random orthogonal
    directions with variances from U(0, 1)."""
    directions = np.linalg.qr(rng.standard_normal((channels, channels)))[0]
    return (directions * np.sqrt(rng.random(channels))).astype(np.float32)
