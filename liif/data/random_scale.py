"""Samples of a random scale (Chen et al. 2021, sec. 4)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import PositiveInt, model_validator

from liif.core.section import ScaleFactor
from liif.data.cache import ImageStore
from liif.data.paths import data_path
from liif.data.samples import (
    CacheConfig,
    CropSpec,
    Sample,
    Side,
    check_crop_fits,
    draw_crop,
    query_crop,
)
from liif.images.resize import pillow_bicubic


class RandomScale(CacheConfig):
    """A random scale for every sample (Chen et al. 2021, sec. 4): a crop of round(patch · s) px
    with s ~ U(scale), reduced to patch × patch by Pillow's bicubic."""

    sampling: Literal["random-scale"] = "random-scale"
    images: str
    patch: Side = 48
    scale: tuple[ScaleFactor, ScaleFactor] = (1.0, 4.0)
    queries: PositiveInt = 2304
    """Pixels asked for, drawn without repetition."""
    augment: bool = True
    """Flips and transposition."""

    @model_validator(mode="after")
    def _possible(self) -> "RandomScale":
        low, high = self.scale
        if low > high:
            raise ValueError(f"scale: must be low <= high, not {list(self.scale)}")
        smallest = round(self.patch * low) ** 2
        if self.queries > smallest:
            raise ValueError(f"queries: at most the {smallest} pixels of the smallest crop")
        return self

    def open_source(self, root: str | None) -> "RandomScaleSource":
        folder = data_path(root, self.images)
        store = self.open(folder)
        largest = round(self.patch * self.scale[1])
        check_crop_fits(store, largest, folder, "train_data.patch or train_data.scale")
        return RandomScaleSource(self, store)


@dataclass(frozen=True)
class RandomScaleSource:
    config: RandomScale
    store: ImageStore

    def __len__(self) -> int:
        return len(self.store)

    def name(self, index: int) -> str:
        """The image's file, relative to its folder."""
        return self.store.names[index]

    def draw(self, index: int, rng: np.random.Generator) -> CropSpec:
        side = round(self.config.patch * rng.uniform(*self.config.scale))
        return draw_crop(
            index,
            self.store.sizes[index],
            side,
            side,
            queries=self.config.queries,
            augment=self.config.augment,
            rng=rng,
        )

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        draw, patch = self.draw(index, rng), self.config.patch
        hr = self.store[index][draw.top :, draw.left :][: draw.side, : draw.side]
        return query_crop(pillow_bicubic(hr, (patch, patch)), hr, draw)
