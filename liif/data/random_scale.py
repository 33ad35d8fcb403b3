"""Training samples of random scales (Chen et al. 2021, sec. 4)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pydantic

from liif.core.section import ScaleFactor
from liif.data.cache import ImageStore
from liif.data.degradations.build import PILLOW_BICUBIC, AnyDegradation
from liif.data.paths import data_path
from liif.data.samples import (
    CropSpec,
    Sample,
    SampleConfig,
    Side,
    check_crop_fits,
    check_range,
    draw_crop,
    query_crop,
)


class RandomScale(SampleConfig):
    """Configuration of training samples with a random scale s ~ U(scale) each: a crop of
    round(patch · s) pixels, reduced to patch × patch."""

    sampling: Literal["random-scale"] = "random-scale"
    images: str
    patch: Side = 48
    scale: tuple[ScaleFactor, ScaleFactor] = (1.0, 4.0)
    augment: bool = True
    """Random flips and transposition."""
    degrade: AnyDegradation = PILLOW_BICUBIC
    """How a crop is reduced: the name of a degradation, or a section with its options."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "RandomScale":
        check_range("scale", self.scale, self.queries, round(self.patch * self.scale[0]))
        if self.cache == "device" and self.degrade != PILLOW_BICUBIC:
            raise ValueError(
                "cache: device makes samples with Pillow's bicubic only, not with degrade: "
                f"{self.degrade.name}; use cache: mmap"
            )
        return self

    def open_source(self, root: str | None) -> "RandomScaleSource":
        folder = data_path(root, self.images)
        store = self.open(folder)
        largest = round(self.patch * self.scale[1])
        check_crop_fits(store, largest, folder, "train_data.patch or train_data.scale")
        return RandomScaleSource(self, store)


@dataclass(frozen=True)
class RandomScaleSource:
    """Images that random-scale samples are made from."""

    config: RandomScale
    store: ImageStore

    def __len__(self) -> int:
        return len(self.store)

    def name(self, index: int) -> str:
        """Return the image's file name, relative to its folder."""
        return self.store.names[index]

    def draw(self, index: int, rng: np.random.Generator) -> CropSpec:
        """Draw the random numbers of one sample."""
        config, size = self.config, self.store.sizes[index]
        side = round(config.patch * rng.uniform(*config.scale))
        return draw_crop(index, size, side, side, config=config, augment=config.augment, rng=rng)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Make one sample of the image at this index."""
        spec, patch = self.draw(index, rng), self.config.patch
        hr = self.store[index][spec.top :, spec.left :][: spec.side, : spec.side]
        return query_crop(self.config.degrade.apply(hr, (patch, patch), rng), hr, spec)
