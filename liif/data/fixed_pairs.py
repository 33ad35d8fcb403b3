"""Samples from given pairs of low- and high-resolution images."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from liif.core.errors import UserError
from liif.data.cache import ImageStore
from liif.data.pairs import match_pairs, pair_scale
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


class FixedPairs(CacheConfig):
    """Given low- and high-resolution images of one whole-numbered scale."""

    sampling: Literal["pairs"]
    lr: str
    hr: str
    patch: Side = 48
    """Side of the low-resolution crop."""
    queries: PositiveInt = 2304
    augment: bool = True

    def open_source(self, root: str | None) -> "FixedPairsSource":
        lr_folder, hr_folder = data_path(root, self.lr), data_path(root, self.hr)
        lr, hr = self.open(lr_folder), self.open(hr_folder)
        order = match_pairs(lr.names, hr.names, lr_folder, hr_folder, complete=not self.skip_broken)
        scales = {
            pair_scale(lr.sizes[i], hr.sizes[j], lr_folder / lr.names[i], hr_folder / hr.names[j])
            for i, j in order
        }
        if len(scales) > 1:
            raise UserError(f"{hr_folder}: its images are of several scales: {sorted(scales)}")
        check_crop_fits(lr, self.patch, lr_folder, "train_data.patch")
        pixels = (self.patch * (scale := scales.pop())) ** 2
        if self.queries > pixels:
            raise UserError(f"train_data.queries: at most the {pixels} pixels of a crop, x{scale}")
        return FixedPairsSource(self, lr, hr, order, scale)


@dataclass(frozen=True)
class FixedPairsSource:
    config: FixedPairs
    lr: ImageStore
    hr: ImageStore
    order: list[tuple[int, int]]
    scale: int

    def __len__(self) -> int:
        return len(self.order)

    def name(self, index: int) -> str:
        """The high-resolution image's file, relative to its folder."""
        return self.hr.names[self.order[index][1]]

    def draw(self, index: int, rng: np.random.Generator) -> CropSpec:
        size, patch = self.lr.sizes[self.order[index][0]], self.config.patch
        return draw_crop(
            index,
            size,
            patch,
            patch * self.scale,
            queries=self.config.queries,
            augment=self.config.augment,
            rng=rng,
        )

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        draw, patch, s = self.draw(index, rng), self.config.patch, self.scale
        i, j = self.order[index]
        lr = self.lr[i][draw.top :, draw.left :][:patch, :patch]
        hr = self.hr[j][draw.top * s :, draw.left * s :][: draw.side, : draw.side]
        return query_crop(lr, hr, draw)
