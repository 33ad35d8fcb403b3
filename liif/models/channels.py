"""What the images of a model are: their channels and their normalisation."""

import math
from typing import Annotated, Any

import pydantic

from liif.core.section import Section, Width

# A class body cannot have a field with the name of a keyword.
_Keys: type[Section] = pydantic.create_model(
    "_Keys",
    __base__=Section,
    **{"in": (Width, 3), "out": (Width, 3)},  # pyright: ignore
)


class Channels(_Keys):  # pyright: ignore
    """Channels of the images that a model takes (`in`) and gives (`out`)."""

    @property
    def input(self) -> int:
        """Channels of low-resolution images."""
        return getattr(self, "in")

    @property
    def output(self) -> int:
        """Channels of high-resolution images."""
        return getattr(self, "out")  # noqa: B009


def _check_numbers(value: object) -> object:
    """One line for what pydantic would report once for each alternative."""
    given: Any = value if isinstance(value, list | tuple) else [value]
    if not given or not all(type(each) in (int, float) and math.isfinite(each) for each in given):
        raise ValueError(f"must be a number, or a list with one for each channel, not {value}")
    return tuple(given) if isinstance(value, list | tuple) else value


def _check_above_zero(value: object) -> object:
    numbers: Any = _check_numbers(value)
    if not min(numbers if isinstance(numbers, tuple) else [numbers]) > 0:
        raise ValueError(f"must be greater than 0, not {value}")
    return numbers


Numbers = Annotated[float | tuple[float, ...], pydantic.BeforeValidator(_check_numbers)]
NumbersAboveZero = Annotated[
    pydantic.PositiveFloat | tuple[pydantic.PositiveFloat, ...],
    pydantic.BeforeValidator(_check_above_zero),
]


class Normalization(Section):
    """Encoder and decoder work on (x - mean) / std of images x in [0, 1]: one number for all
    channels, or one for each."""

    mean: Numbers = 0.5
    std: NumbersAboveZero = 0.5
