"""The kinds of training samples. The only list of them: a new kind is a file and a line here."""

from typing import Annotated, Protocol, Union, runtime_checkable

import numpy as np
import pydantic

from liif.data.fixed_pairs import FixedPairs
from liif.data.random_scale import RandomScale
from liif.data.samples import Sample, SampleView
from liif.data.size_varied import SizeVaried

SAMPLINGS = {"random-scale": RandomScale, "pairs": FixedPairs, "size-varied": SizeVaried}

AnySampling = tuple(SAMPLINGS.values())
TrainData = Annotated[Union[AnySampling], pydantic.Field(discriminator="sampling")]  # noqa: UP007 # pyright: ignore
"""The section `train_data` of a configuration; `sampling` names the kind."""


class SampleSource(Protocol):
    """The images of a training set, as returned by the `open_source` of a kind of samples. It must
    be possible to pickle it, because worker processes get a copy."""

    def __len__(self) -> int:
        """Return the number of samples in a pass over the set, such as that of its images."""
        ...

    def name(self, index: int) -> str:
        """Return the file name of an image, for messages."""
        ...

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Make one sample of an image. It depends on the arguments only."""
        ...


@runtime_checkable
class ViewableSource(SampleSource, Protocol):
    """A source whose samples can be looked at."""

    def view(self, index: int, rng: np.random.Generator) -> SampleView:
        """Make the sample that `sample` makes of the same arguments, but for its queries."""
        ...
