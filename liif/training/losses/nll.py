"""The negative log-likelihood of the true colours, of decoders that are flows."""

from typing import ClassVar, Literal

from torch import Tensor

from liif.data.loader import Batch
from liif.training.losses.base import Loss, LossConfig


class NllConfig(LossConfig):
    """Configuration of the negative log-likelihood of the true colours."""

    name: Literal["nll"] = "nll"
    needs: ClassVar = "log_likelihood"

    def build(self, channels: int, std: Tensor) -> "Nll":
        return Nll()


class Nll(Loss):
    """Mean negative logarithm of the density of the normalised true colours (Yao et al., LINF, CVPR
    2023, sec. 3.2): it may be negative. It does not depend on the predicted colours."""

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        assert batch.log_likelihood is not None, "TrainConfig refuses decoders without likelihood"
        return -batch.log_likelihood.mean()
