"""The base of every part of a configuration."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Width = Annotated[int, Field(gt=0, le=4096)]
"""Channels, or blocks, of a network: bounded, because a checkpoint's description is not trusted."""
Widths = Annotated[tuple[Width, ...], Field(max_length=64)]

ScaleFactor = Annotated[float, Field(ge=1, le=1000)]
"""How many times larger the high-resolution image is along an axis."""


class Section(BaseModel):
    """A frozen piece of configuration, kept beside the code that it configures: unknown keys, wrong
    types, infinities and NaN are refused; defaults are checked too."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )
