"""Samples with ground truths of varied sizes (Chen et al. 2021, CelebA-HQ)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import PositiveInt, model_validator

from liif.core.errors import UserError
from liif.data.cache import ImageStore
from liif.data.pairs import match_pairs
from liif.data.paths import data_path
from liif.data.samples import CacheConfig, Sample, Side, query_pixels
from liif.images.resize import pillow_bicubic


class SizeVaried(CacheConfig):
    """Whole low-resolution images, the high-resolution one resized to a size that grows from the
    first image to the last (Chen et al. 2021: learning with size-varied ground truths)."""

    sampling: Literal["size-varied"]
    lr: str
    hr: str
    size: tuple[Side, Side]
    """Side of the first and of the last image's target, in pixels."""
    resize: Side | None = None
    """Side that all targets are brought back to, for networks of one scale."""
    queries: PositiveInt = 1024
    augment: bool = True
    """Horizontal flips."""

    @model_validator(mode="after")
    def _possible(self) -> "SizeVaried":
        if self.size[0] > self.size[1]:
            raise ValueError(f"size: must be low <= high, not {list(self.size)}")
        smallest = (self.resize or self.size[0]) ** 2
        if self.queries > smallest:
            raise ValueError(f"queries: at most the {smallest} pixels of the smallest target")
        return self

    def open_source(self, root: str | None) -> "SizeVariedSource":
        lr_folder, hr_folder = data_path(root, self.lr), data_path(root, self.hr)
        lr, hr = self.open(lr_folder), self.open(hr_folder)
        order = match_pairs(lr.names, hr.names, lr_folder, hr_folder, complete=not self.skip_broken)
        sizes = set(lr.sizes)
        if len(sizes) > 1:
            raise UserError(f"{lr_folder}: its images are of several sizes: {sorted(sizes)}")
        return SizeVariedSource(self, lr, hr, order)


@dataclass(frozen=True)
class SizeVariedSource:
    config: SizeVaried
    lr: ImageStore
    hr: ImageStore
    order: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.order)

    def name(self, index: int) -> str:
        """The high-resolution image's file, relative to its folder."""
        return self.hr.names[self.order[index][1]]

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        low, high = self.config.size
        side = round(low + (high - low) * index / max(len(self) - 1, 1))
        i, j = self.order[index]
        lr, hr = self.lr[i], pillow_bicubic(self.hr[j], (side, side))
        if self.config.augment and rng.random() < 0.5:
            lr, hr = lr[:, ::-1], np.ascontiguousarray(hr[:, ::-1])
        if self.config.resize is not None:
            hr = pillow_bicubic(hr, (self.config.resize, self.config.resize))
        return query_pixels(lr, hr, rng.choice(len(hr) ** 2, self.config.queries, replace=False))
