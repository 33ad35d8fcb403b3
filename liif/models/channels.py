"""What the images of a model are: their channels and their normalisation."""

import pydantic

from liif.core.section import Section, Width


class Channels(Section):
    """Channels of the images that a model takes (`in`) and gives (`out`)."""

    model_config = pydantic.ConfigDict(populate_by_name=True)

    input: Width = pydantic.Field(default=3, alias="in")
    output: Width = pydantic.Field(default=3, alias="out")

    @pydantic.model_serializer
    def _keys(self) -> dict[str, int]:
        return {"in": self.input, "out": self.output}


class Normalization(Section):
    """Encoder and decoder work on (x - mean) / std of images x in [0, 1]: one number for all
    channels, or one for each."""

    mean: float | tuple[float, ...] = 0.5
    std: pydantic.PositiveFloat | tuple[pydantic.PositiveFloat, ...] = 0.5
