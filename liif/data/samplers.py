"""The kinds of training samples; a new kind is added here."""

from typing import Annotated

import pydantic

from liif.data.fixed_pairs import FixedPairs, FixedPairsSource
from liif.data.random_scale import RandomScale, RandomScaleSource
from liif.data.size_varied import SizeVaried, SizeVariedSource

TrainData = Annotated[
    RandomScale | FixedPairs | SizeVaried, pydantic.Field(discriminator="sampling")
]
"""The section `train_data` of a configuration; `sampling` names the kind."""

SampleSource = RandomScaleSource | FixedPairsSource | SizeVariedSource
"""The images of a training set, as returned by `TrainData.open_source`."""
