"""What the images of a model are: their channels and their normalisation."""

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


class Normalization(Section):
    """Encoder and decoder work on (x - mean) / std of images x in [0, 1]: one number for all
    channels, or one for each."""

    mean: float | tuple[float, ...] = 0.5
    std: pydantic.PositiveFloat | tuple[pydantic.PositiveFloat, ...] = 0.5
