"""The gradient loss: differences of neighbouring pixels, which show edges."""

from typing import Literal

from torch import Tensor

from liif.data.loader import Batch
from liif.training.losses.base import Loss, LossConfig, to_patches


class GradientConfig(LossConfig):
    """Configuration of the mean absolute difference of image gradients."""

    name: Literal["gradient"] = "gradient"

    @property
    def smallest_patch(self) -> int:
        return 2

    def build(self, channels: int, std: Tensor) -> "Gradient":
        return Gradient()


class Gradient(Loss):
    """Mean absolute difference of the forward differences along rows and along columns, of colours
    in [0, 1] (gradient difference loss, Mathieu, Couprie, LeCun, ICLR 2016, with its signs)."""

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        error = to_patches(rgb - target, batch)  # differences are linear: those of the error
        return error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
