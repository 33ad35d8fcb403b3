"""Training samples of random scales (Chen et al. 2021, sec. 4)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic

from liif.core.errors import UserError
from liif.core.section import ScaleFactor, Section
from liif.data.cache import ImageStore, join_stores
from liif.data.degradations.build import PILLOW_BICUBIC, AnyDegradation
from liif.data.degradations.degradation import Probability
from liif.data.paths import ImageFolders, data_path, weighted_folders
from liif.data.samples import (
    CropSpec,
    Sample,
    SampleConfig,
    SampleView,
    Side,
    check_crop_fits,
    check_range,
    draw_crop,
    view_crop,
)
from liif.images.resize import pillow_bicubic


class HrReduction(Section):
    """Configuration of a reduction of high-resolution crops by a random factor f ~ U(factor), which
    shows the model sharper and smaller detail (Becker et al. 2023, Thera): a larger square is cut
    from the image, and reduced by Pillow's bicubic to the crop that the sample is made from."""

    factor: tuple[ScaleFactor, ScaleFactor] = (1.0, 2.0)
    probability: Probability = 0.5
    """Share of the samples whose crop is reduced."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "HrReduction":
        if self.factor[0] > self.factor[1]:
            text = "factor: must be [low, high] with low <= high, not "
            raise ValueError(f"{text}{list(self.factor)}")
        return self


class RandomScale(SampleConfig):
    """Configuration of training samples with a random scale s each: a crop of round(patch · s)
    pixels, reduced to patch × patch."""

    sampling: Literal["random-scale"] = "random-scale"
    images: ImageFolders
    """Folder of high-resolution images; or a list of folders, each a path or {path, weight}: images
    of a folder of weight 2 are used twice as often."""
    patch: Side = 48
    scale: tuple[ScaleFactor, ScaleFactor] = (1.0, 4.0)
    """Least and largest scale: s = least + (largest - least) · u^power, u uniform in [0, 1]."""
    scale_power: pydantic.PositiveFloat = 1.0
    """With less than 1 large scales are drawn more often, with 1 all alike."""
    augment: bool = True
    """Random flips and transposition."""
    degrade: AnyDegradation = PILLOW_BICUBIC  # pyright: ignore[reportInvalidTypeForm]
    """How a crop is reduced: the name of a degradation, or a section with its options."""
    reduce_hr: HrReduction | None = None
    """Reduction of high-resolution crops, before low-resolution ones are made from them."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "RandomScale":
        queries = 1 if self.layout == "crop" else self.queries
        check_range("scale", self.scale, queries, round(self.patch * self.scale[0]))
        if self.cache == "device" and self.degrade != PILLOW_BICUBIC:
            raise ValueError(
                "cache: device makes samples with Pillow's bicubic only, not with degrade: "
                f"{self.degrade.name}; use cache: mmap"
            )
        if self.cache == "device" and self.reduce_hr is not None:
            raise ValueError("cache: device has no reduce_hr; use cache: mmap")
        return self

    @property
    def queried_side(self) -> int | None:
        """As `SampleConfig.queried_side`."""
        return round(self.patch * self.scale[0]) if self.layout == "crop" else super().queried_side

    def draw_scale(self, rng: np.random.Generator) -> float:
        """Draw a scale."""
        if self.scale_power == 1:  # not by the general formula, which rounds otherwise
            return rng.uniform(*self.scale)
        low, high = self.scale
        return low + (high - low) * rng.random() ** self.scale_power

    def open_source(
        self, root: str | None, channels: tuple[int, int] = (3, 3)
    ) -> "RandomScaleSource":
        if channels[0] != channels[1]:
            raise UserError(
                "train_data.sampling: random-scale makes both images from one file, so "
                f"model.channels must have in = out, not {channels[0]} and {channels[1]}; use "
                "sampling: pairs"
            )
        largest, keys = round(self.patch * self.scale[1]), "train_data.patch or train_data.scale"
        if self.reduce_hr is not None:
            largest = round(largest * self.reduce_hr.factor[1])
            keys = "train_data.patch, train_data.scale or train_data.reduce_hr.factor"
        parts: list[tuple[Path, ImageStore, int]] = []
        for each in weighted_folders(self.images):
            folder = data_path(root, each.path)
            store = self.open(folder, channels[1], exclude=each.exclude)
            check_crop_fits(store, largest, folder, keys)
            parts.append((folder, store, each.weight))
        is_one = len(parts) == 1 and parts[0][2] == 1
        return RandomScaleSource(self, parts[0][1] if is_one else join_stores(parts))


@dataclass(frozen=True)
class RandomScaleSource:
    """Images that random-scale samples are made from."""

    config: RandomScale
    store: ImageStore
    scale: float | None = None
    """The scale of all samples; None to draw one for each."""

    def __len__(self) -> int:
        return len(self.store)

    def name(self, index: int) -> str:
        """Return the image's file name, relative to its folder."""
        return self.store.names[index]

    def of_batch(self, rng: np.random.Generator) -> "RandomScaleSource":
        """Return the source of a batch's samples: under `layout: crop` they have one scale."""
        if self.config.layout != "crop":
            return self
        return replace(self, scale=self.config.draw_scale(rng))

    def draw(self, index: int, rng: np.random.Generator) -> CropSpec:
        """Draw the random numbers of one sample."""
        config, size = self.config, self.store.sizes[index]
        scale = config.draw_scale(rng) if self.scale is None else self.scale
        side = cut = round(config.patch * scale)
        reduction = config.reduce_hr
        if reduction is not None and rng.random() < reduction.probability:
            cut = round(side * rng.uniform(*reduction.factor))
        return draw_crop(index, size, cut, side, config=config, augment=config.augment, rng=rng)

    def view(self, index: int, rng: np.random.Generator) -> SampleView:
        """Make one sample of the image at this index, but for its queries."""
        spec, patch = self.draw(index, rng), self.config.patch
        hr = self.store[index][spec.top :, spec.left :][: spec.cut, : spec.cut]
        if spec.cut > spec.side:
            hr = pillow_bicubic(hr, (spec.side, spec.side))
        lr, words = self.config.degrade.trace(hr, (patch, patch), rng)
        return view_crop(lr, hr, spec, words)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Make one sample of the image at this index."""
        return self.view(index, rng).query()
