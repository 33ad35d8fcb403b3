"""The only list of losses: a new loss is one file and one line here."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import pydantic

from liif.core.section import named, with_tuples
from liif.training.losses.adversarial import AdversarialConfig
from liif.training.losses.base import LossConfig
from liif.training.losses.fft import FftConfig
from liif.training.losses.gradient import GradientConfig
from liif.training.losses.lpips import LpipsConfig
from liif.training.losses.ms_ssim import MsSsimConfig
from liif.training.losses.nll import NllConfig
from liif.training.losses.pointwise import CharbonnierConfig, L1Config, MseConfig
from liif.training.losses.slope import SlopeConfig
from liif.training.losses.vgg import VggConfig

LOSSES = {
    "l1": L1Config,
    "mse": MseConfig,
    "charbonnier": CharbonnierConfig,
    "gradient": GradientConfig,
    "fft": FftConfig,
    "slope": SlopeConfig,
    "nll": NllConfig,
    "ms-ssim": MsSsimConfig,
    "vgg": VggConfig,
    "lpips": LpipsConfig,
    "adversarial": AdversarialConfig,
}

_Any = tuple(LOSSES.values())
_Section = Annotated[Union[_Any], pydantic.Field(discriminator="name")]  # noqa: UP007 # pyright: ignore
_Written: Any = Literal[tuple(LOSSES)] | _Section  # pyright: ignore


def _listed(value: Any) -> Any:  # noqa: ANN401
    return (named(value),) if isinstance(value, str | dict) else with_tuples(value)


if TYPE_CHECKING:
    LossList = tuple[LossConfig, ...]
else:
    OneLoss = Annotated[_Section, pydantic.BeforeValidator(named, json_schema_input_type=_Written)]
    LossList = Annotated[
        tuple[OneLoss, ...],
        pydantic.BeforeValidator(_listed, json_schema_input_type=_Written | tuple[_Written, ...]),
    ]
"""The key `loss` of a configuration: the terms of the sum that training minimises. A term can be
its name alone, and a single one need not be in a list."""
