"""The only list of losses: a new loss is one file and one line here."""

from typing import TYPE_CHECKING, Annotated, Union

import pydantic

from liif.training.losses.base import LossConfig
from liif.training.losses.pointwise import CharbonnierConfig, L1Config, MseConfig

LOSSES = {
    "l1": L1Config,
    "mse": MseConfig,
    "charbonnier": CharbonnierConfig,
}

if TYPE_CHECKING:
    LossList = tuple[LossConfig, ...]
else:
    AnyLoss = tuple(LOSSES.values())
    OneLoss = Annotated[Union[AnyLoss], pydantic.Field(discriminator="name")]  # noqa: UP007
    LossList = tuple[OneLoss, ...]
"""The key `loss` of a configuration: the terms of the sum that training minimises."""
