"""The base of every part of a configuration."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen piece of configuration, kept beside the code that it configures: unknown keys, wrong
    types, infinities and NaN are refused; defaults are checked too."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )
