"""The slope of a field of colours, which keeps it smooth between the scales of the training."""

from typing import ClassVar, Literal

from torch import Tensor

from liif.data.loader import Batch
from liif.training.losses.base import Loss, LossConfig


class SlopeConfig(LossConfig):
    """Configuration of the mean absolute slope of the model's field."""

    name: Literal["slope"] = "slope"
    needs: ClassVar = "slopes"

    def build(self, channels: int, std: Tensor) -> "Slope":
        return Slope()


class Slope(Loss):
    """Mean absolute derivative of the normalised colours along y and x, for one low-resolution
    pixel, of the field before it is blurred for a size of pixels (Becker et al., Thera, 2023: its
    total variation). It does not depend on the true colours."""

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        assert batch.slopes is not None, "TrainConfig refuses decoders without slopes"
        return batch.slopes.abs().mean()
