"""What every step of a pipeline is, and types of its options.

Steps work on float32 images (C, H, W) in [0, 1], channels first.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np
import pydantic

from liif.core.section import Section
from liif.core.sizes import Size
from liif.data.degradations.degradation import Planes, Probability


class Goal(NamedTuple):
    """What a pipeline is to make of an image."""

    size: Size
    """(h, w) of the low-resolution image."""
    scale: float
    """Square root of the number of high-resolution pixels per low-resolution pixel."""


class Step(Section):
    """Base class of the configuration of a step, with the function that it configures."""

    name: Any  # a Literal in every subclass
    probability: Probability = 1.0
    """Probability that the step is applied to an image."""

    def apply(self, image: Planes, goal: Goal, rng: np.random.Generator) -> tuple[Planes, str]:
        """Return the result of the step, a new array, and a few words on what was drawn."""
        raise NotImplementedError


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"must be [low, high] with low <= high, not {list(bounds)}")
    return bounds


def _not_empty(items: tuple[object, ...]) -> tuple[object, ...]:
    if not items:
        raise ValueError("must not be empty")
    return items


not_empty = pydantic.AfterValidator(_not_empty)
ordered = pydantic.AfterValidator(_ordered)

Bound = Annotated[float, pydantic.Field(ge=0, le=1000)]
Range = Annotated[tuple[Bound, Bound], ordered]
"""[low, high]; a number is drawn uniformly between them."""
