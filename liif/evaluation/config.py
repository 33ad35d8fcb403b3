"""Configuration of an evaluation."""

from typing import Annotated

import pydantic
from pydantic import PositiveInt

from liif.core.section import ScaleFactor
from liif.data.cache import PixelConfig
from liif.data.degradations.build import PILLOW_BICUBIC, AnyDegradation
from liif.data.degradations.degradation import Degradation
from liif.data.pairs import PairSet, open_pairs
from liif.data.paths import FoldersByScale, LowResolutionName, data_path, published_folder
from liif.data.recipes import RecipeName
from liif.evaluation.protocols import ProtocolName


def _both_axes(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        # ScaleFactor checks this too, but would report it twice, once for each axis.
        if not 1 <= value <= 1000:
            raise ValueError(f"must be from 1 to 1000, not {value}")
        return (value, value)
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("must be a number such as 2 or 2.5, or two: [vertical, horizontal]")
    return tuple(value)


_FACTOR = {"type": "number", "minimum": 1, "maximum": 1000}
_BOTH = {"type": "array", "prefixItems": [_FACTOR, _FACTOR], "minItems": 2, "maxItems": 2}
_SCHEMA = {"anyOf": [_FACTOR, _BOTH]}
ScalePair = Annotated[
    tuple[ScaleFactor, ScaleFactor],
    pydantic.BeforeValidator(_both_axes),
    pydantic.WithJsonSchema(_SCHEMA, mode="validation"),
]
"""(vertical, horizontal); a single number sets both."""


class TestConfig(PixelConfig):
    """Configuration of the evaluation of one set at one scale."""

    __test__ = False  # pytest would collect a class of this name

    data_root: str | None = None
    """Folder of the data sets; None for $LIIF_DATA or datasets/."""
    set: str
    """Name of the set in result files."""
    hr: str
    """Folder of high-resolution images, or one image."""
    lr: FoldersByScale | None = None
    """Folder of the published low-resolution images, in which {scale} is replaced by the scale; or
    folders by scale, {2: FOLDER, 3: FOLDER}."""
    lr_scales: tuple[PositiveInt, ...] = (2, 3, 4)
    """Scales for which a folder `lr` with {scale} has images; for others they are made from `hr`.
    """
    lr_name: LowResolutionName = None
    """Name of a low-resolution image without suffix, in which {} stands for that of its partner in
    `hr` and {scale} for the scale, e.g. "{}x{scale}m". Usual names are found without it."""
    degrade: AnyDegradation | None = None  # pyright: ignore[reportInvalidTypeForm]
    """How low-resolution images are made from `hr`, instead of published ones; null for published
    ones where there are, and Pillow's bicubic elsewhere. What is random depends on an image's name
    only."""
    lr_recipe: RecipeName | None = None
    """The recipe of a paper that low-resolution images are made by, with sizes of its own, for any
    scale; see docs/protocols.md. It excludes `degrade`, and published images are not used."""
    scale: ScalePair
    protocol: ProtocolName
    """Pixels and channels that are scored; see liif/evaluation/protocols.py."""
    checkpoint: str | None = None
    """Default of the option --checkpoint: a file, or the name of a model."""

    @property
    def published_lr(self) -> str | None:
        """The folder of the published low-resolution images that are used; None without one."""
        if self.degrade is not None or self.lr_recipe is not None:
            return None
        return published_folder(self.lr, self.lr_scales, self.scale)

    @property
    def degradation(self) -> Degradation:
        """What makes low-resolution images where none are published."""
        return self.degrade or PILLOW_BICUBIC

    def open_pairs(self, channels: tuple[int, int] = (3, 3)) -> PairSet:
        """Open the images of the set at this scale; `channels` are those of low- and of
        high-resolution images. Raises UserError if images are missing or do not match."""
        lr = None if self.published_lr is None else data_path(self.data_root, self.published_lr)
        hr = data_path(self.data_root, self.hr)
        forms = self.pixel_format(channels[0]), self.pixel_format(channels[1])
        return open_pairs(
            hr, scale=self.scale, lr=lr, degradation=self.degradation, forms=forms,
            recipe=self.lr_recipe, lr_name=self.lr_name,
        )  # fmt: skip

    @pydantic.model_validator(mode="after")
    def _check_recipe(self) -> "TestConfig":
        if self.lr_recipe is None:
            return self
        if self.degrade is not None:
            raise ValueError("lr_recipe: excludes degrade; remove one of them")
        if self.bits != 8:
            raise ValueError("lr_recipe: makes images of 8 bits; set bits: 8")
        return self
