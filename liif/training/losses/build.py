"""The only list of losses: a new loss is one file and one line here."""

from typing import TYPE_CHECKING, Annotated, Union

import pydantic

from liif.training.losses.adversarial import AdversarialConfig
from liif.training.losses.base import LossConfig
from liif.training.losses.fft import FftConfig
from liif.training.losses.gradient import GradientConfig
from liif.training.losses.lpips import LpipsConfig
from liif.training.losses.ms_ssim import MsSsimConfig
from liif.training.losses.pointwise import CharbonnierConfig, L1Config, MseConfig
from liif.training.losses.vgg import VggConfig

LOSSES = {
    "l1": L1Config,
    "mse": MseConfig,
    "charbonnier": CharbonnierConfig,
    "gradient": GradientConfig,
    "fft": FftConfig,
    "ms-ssim": MsSsimConfig,
    "vgg": VggConfig,
    "lpips": LpipsConfig,
    "adversarial": AdversarialConfig,
}

if TYPE_CHECKING:
    LossList = tuple[LossConfig, ...]
else:
    AnyLoss = tuple(LOSSES.values())
    OneLoss = Annotated[Union[AnyLoss], pydantic.Field(discriminator="name")]  # noqa: UP007
    LossList = tuple[OneLoss, ...]
"""The key `loss` of a configuration: the terms of the sum that training minimises."""
