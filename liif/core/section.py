"""The base class of configuration sections, and types of their values."""

from typing import Annotated, Any

import pydantic

Width = Annotated[int, pydantic.Field(gt=0, le=4096)]
"""Number of channels or blocks of a network, bounded because a checkpoint's configuration is not
trusted."""
Widths = Annotated[tuple[Width, ...], pydantic.Field(max_length=64)]

ScaleFactor = Annotated[float, pydantic.Field(ge=1, le=1000)]
"""Size of the high-resolution image over that of the low-resolution image, along an axis."""


class Section(pydantic.BaseModel):
    """A section of a configuration, immutable and defined beside the code that it configures.
    Unknown keys, wrong types, infinities and NaN are errors; defaults are validated, too."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )


def named(value: Any) -> Any:  # noqa: ANN401
    """Return a section given as its name alone, such as `area`, as {name: area}; to be called
    before the value is validated."""
    return {"name": value} if isinstance(value, str) else with_tuples(value)


def with_tuples(value: Any) -> Any:  # noqa: ANN401
    """Return nested lists as tuples: strict validation takes a list of JSON for a tuple, but not
    one that has passed through a function such as `named`."""
    if isinstance(value, dict):
        return {key: with_tuples(item) for key, item in value.items()}
    return tuple(map(with_tuples, value)) if isinstance(value, list) else value
