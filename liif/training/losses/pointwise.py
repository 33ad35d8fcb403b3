"""Losses that compare colours point by point: l1, mse and charbonnier."""

from typing import Literal

import pydantic
from torch import Tensor

from liif.data.loader import Batch
from liif.training.losses.base import Loss, LossConfig


class L1Config(LossConfig):
    """Configuration of the published loss: the mean absolute difference in normalised units."""

    name: Literal["l1"] = "l1"

    def build(self, channels: int, std: Tensor) -> "L1":
        return L1(std)


class L1(Loss):
    """Mean absolute difference as published (Chen et al. 2021, sec. 4): in normalised units,
    (x - 0.5) / 0.5."""

    std: Tensor

    def __init__(self, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("std", std.detach().clone(), persistent=False)

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        return ((rgb - target) / self.std).abs().mean()


class MseConfig(LossConfig):
    """Configuration of the mean squared difference of colours in [0, 1]: PSNR is -10 log10 of
    it."""

    name: Literal["mse"] = "mse"

    def build(self, channels: int, std: Tensor) -> "Mse":
        return Mse()


class Mse(Loss):
    """Mean squared difference of colours in [0, 1]."""

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        return (rgb - target).square().mean()


class CharbonnierConfig(LossConfig):
    """Configuration of a smooth L1: the mean of sqrt(d² + eps²) over differences d of colours in
    [0, 1]."""

    name: Literal["charbonnier"] = "charbonnier"
    eps: pydantic.PositiveFloat = 1e-3
    """Differences below this count quadratically, larger ones linearly."""

    def build(self, channels: int, std: Tensor) -> "Charbonnier":
        return Charbonnier(self.eps)


class Charbonnier(Loss):
    """Mean of sqrt(d² + eps²) (Charbonnier et al., ICIP 1994; for super-resolution Lai et al.,
    LapSRN, CVPR 2017, eq. 3)."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        return ((rgb - target).square() + self.eps**2).sqrt().mean()
