"""The only list of degradations."""

import json
from typing import Annotated, Any, Literal, Union

import pydantic

from liif.core.section import named
from liif.data.degradations.area import AreaConfig
from liif.data.degradations.bicubic import BicubicConfig
from liif.data.degradations.bsrgan import BsrganConfig
from liif.data.degradations.degradation import Degradation
from liif.data.degradations.lanczos import LanczosConfig
from liif.data.degradations.pipeline import PipelineConfig
from liif.data.degradations.real_esrgan import RealEsrganConfig

DEGRADATIONS = {
    "bicubic": BicubicConfig,
    "area": AreaConfig,
    "lanczos": LanczosConfig,
    "pipeline": PipelineConfig,
    "real-esrgan": RealEsrganConfig,
    "bsrgan": BsrganConfig,
}

_Any = tuple(DEGRADATIONS.values())
_Section = Annotated[Union[_Any], pydantic.Field(discriminator="name")]  # noqa: UP007 # pyright: ignore
_Written: Any = Literal[tuple(DEGRADATIONS)] | _Section  # pyright: ignore
_read = pydantic.BeforeValidator(named, json_schema_input_type=_Written)
AnyDegradation = Annotated[Union[_Any], pydantic.Field(discriminator="name"), _read]  # noqa: UP007 # pyright: ignore
"""A degradation in a configuration: its name, or a section with its `name` and options."""
PILLOW_BICUBIC = BicubicConfig()
"""The default."""


def label(degradation: Degradation) -> str:
    """Return the name of a degradation in result files, with the options that are not default."""
    if degradation == PILLOW_BICUBIC:
        return "pillow-bicubic"
    options = degradation.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
    return " ".join([degradation.name, *([json.dumps(options, sort_keys=True)] if options else [])])
