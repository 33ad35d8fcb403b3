"""Blur kernels: odd squares of weights that sum to one.

Gaussians and their relatives are functions of q(x) = xᵀ Σ⁻¹ x with Σ the covariance; see Wang, Xie,
Dong, Shan: "Real-ESRGAN" (ICCVW 2021), sec. 3.1 and 3.3.
"""

import numpy as np
import numpy.typing as npt
import torch

Kernel = npt.NDArray[np.float64]
"""(k, k), k odd, centred at (k // 2, k // 2)."""


def gaussian(size: int, sigma: tuple[float, float], angle: float = 0.0) -> Kernel:
    """Return the Gaussian with standard deviations `sigma` in pixels along its two axes, the first
    of which is `angle` radians from the horizontal."""
    return _normalised(np.exp(-0.5 * _form(size, sigma, angle)))


def generalised_gaussian(
    size: int, sigma: tuple[float, float], angle: float, beta: float
) -> Kernel:
    """Return exp(-q^β / 2): a Gaussian for β = 1, flatter on top and steeper for larger β."""
    return _normalised(np.exp(-0.5 * _form(size, sigma, angle) ** beta))


def plateau(size: int, sigma: tuple[float, float], angle: float, beta: float) -> Kernel:
    """Return 1 / (1 + q^β), which has longer tails than a Gaussian."""
    return _normalised(1 / (1 + _form(size, sigma, angle) ** beta))


def sinc(size: int, cutoff: float) -> Kernel:
    """Return the circular low-pass filter of a cutoff in radians per pixel, at most π, which leaves
    ringing at edges: ω J₁(ω r) / (2π r), with ω² / 4π at the centre."""
    y, x = _offsets(size)
    r = np.hypot(y, x)
    r[size // 2, size // 2] = 1
    bessel = torch.special.bessel_j1(torch.from_numpy(cutoff * r)).numpy()
    kernel = cutoff * bessel / (2 * np.pi * r)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * np.pi)
    return _normalised(kernel)


def _offsets(size: int) -> tuple[Kernel, Kernel]:
    axis: Kernel = np.arange(size, dtype=np.float64) - size // 2
    return np.repeat(axis[:, None], size, axis=1), np.repeat(axis[None], size, axis=0)


def _form(size: int, sigma: tuple[float, float], angle: float) -> Kernel:
    y, x = _offsets(size)
    cos, sin = np.cos(angle), np.sin(angle)
    first, second = (cos * x + sin * y) / sigma[0], (cos * y - sin * x) / sigma[1]
    return first**2 + second**2


def _normalised(kernel: Kernel) -> Kernel:
    return kernel / kernel.sum()
