"""The kinds of training samples: the only list of them."""

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
"""What `open_source` of one of them returns."""
