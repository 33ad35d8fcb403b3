"""The Fourier loss: amplitude and phase of a patch's frequencies."""

from typing import Literal

import pydantic
import torch
from torch import Tensor

from liif.data.loader import Batch
from liif.training.losses.base import Loss, LossConfig, to_patches

NOISE = 1e-3
"""Amplitude of the rounding of colours to 8 bits, (1/255) / sqrt(12): the phase of a frequency
below it is that of noise."""


class FftConfig(LossConfig):
    """Configuration of the difference of Fourier spectra: that of the amplitudes plus that of the
    phases."""

    name: Literal["fft"] = "fft"
    phase: pydantic.NonNegativeFloat = 1.0
    """Factor of the phases beside the amplitudes."""

    @property
    def smallest_patch(self) -> int:
        return 2

    def build(self, channels: int, std: Tensor) -> "Fft":
        return Fft(self.phase)


class Fft(Loss):
    """Mean over all frequencies of | |X| - |Y| | + phase · |u(X) - u(Y)|, where X and Y are the
    orthonormal transforms of predicted and true patches and u(X) = X / sqrt(|X|² + NOISE²).

    Amplitudes and phases are compared as by Fuoli, Van Gool, Timofte (Fourier Space Losses, ICCV
    2021), but phases as points of the unit circle instead of angles: they need no unwrapping, and
    the gradient stays bounded where a frequency vanishes.
    """

    def __init__(self, phase: float) -> None:
        super().__init__()
        self.phase = phase

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        x, y = (torch.fft.fft2(to_patches(c, batch), norm="ortho") for c in (rgb, target))
        amplitudes = (x.abs() - y.abs()).abs().mean()
        return amplitudes + self.phase * (_unit(x) - _unit(y)).abs().mean()


def _unit(x: Tensor) -> Tensor:
    return x / (x.real.square() + x.imag.square() + NOISE**2).sqrt()
