"""A sequence of random steps, which makes low-resolution images as photographs have them."""

import math
from typing import Annotated, Literal

import numpy as np
import pydantic

from liif.core.section import Section
from liif.core.sizes import Size
from liif.data.degradations.blur import BlurConfig
from liif.data.degradations.compression import JpegConfig, WebpConfig
from liif.data.degradations.degradation import (
    Degradation,
    Image,
    Probability,
    from_planes,
    to_planes,
)
from liif.data.degradations.noise import NoiseConfig
from liif.data.degradations.rescale import ReduceConfig, ResizeConfig
from liif.data.degradations.step import Goal, not_empty

AnyStep = Annotated[
    BlurConfig | ResizeConfig | ReduceConfig | NoiseConfig | JpegConfig | WebpConfig,
    pydantic.Field(discriminator="name"),
]


class Stage(Section):
    """Some steps of a pipeline."""

    steps: Annotated[tuple[AnyStep, ...], not_empty]
    shuffle: bool = False
    """Apply the steps in random order, but resize and reduce in the order given."""
    probability: Probability = 1.0
    """Probability that the stage is applied to an image."""


class StagedConfig(Degradation):
    stages: tuple[Stage, ...]

    def apply(self, hr: Image, size: Size, rng: np.random.Generator) -> Image:
        return self.trace(hr, size, rng)[0]

    def trace(
        self, hr: Image, size: Size, rng: np.random.Generator
    ) -> tuple[Image, tuple[str, ...]]:
        goal = Goal(size, math.sqrt(hr.shape[0] * hr.shape[1] / math.prod(size)))
        image, notes = to_planes(hr), list[str]()
        for stage in self.stages:
            if rng.random() >= stage.probability:
                continue
            for step in _shuffled(stage.steps, rng) if stage.shuffle else stage.steps:
                if rng.random() < step.probability:
                    image, note = step.apply(image, goal, rng)
                    notes.append(note)
        if image.shape[1:] != size:
            image, note = ReduceConfig(filters=("antialiased",)).apply(image, goal, rng)
            notes.append(note)
        return from_planes(image, hr.dtype), tuple(notes)


class PipelineConfig(StagedConfig):
    """Configuration of a pipeline of your own: stages of steps, each with a probability."""

    name: Literal["pipeline"] = "pipeline"
    stages: Annotated[tuple[Stage, ...], not_empty]
    """Applied one after the other. An image that they leave in another size is reduced with an
    antialiased bicubic filter in the end."""


def _shuffled(steps: tuple[AnyStep, ...], rng: np.random.Generator) -> list[AnyStep]:
    """Return the steps in random order; those that resize keep their order among themselves."""
    order = [steps[i] for i in rng.permutation(len(steps))]
    resizing = iter([step for step in steps if isinstance(step, ResizeConfig | ReduceConfig)])
    return [
        next(resizing) if isinstance(step, ResizeConfig | ReduceConfig) else step for step in order
    ]
