"""Training samples from given pairs of low- and high-resolution images."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from liif.core.errors import UserError
from liif.data.paired_source import PairedSource, open_paired
from liif.data.pairs import pair_scale
from liif.data.paths import data_path
from liif.data.samples import (
    CropSpec,
    Sample,
    SampleConfig,
    Side,
    check_crop_fits,
    draw_crop,
    query_crop,
)


class FixedPairs(SampleConfig):
    """Configuration of training samples from pairs of images with one integer scale."""

    sampling: Literal["pairs"]
    lr: str
    hr: str
    patch: Side = 48
    """Side of the low-resolution crop."""
    augment: bool = True
    """Random flips and transposition."""

    def open_source(self, root: str | None) -> "FixedPairsSource":
        lr, hr, order = open_paired(self, self.lr, self.hr, root)
        lr_folder, hr_folder = data_path(root, self.lr), data_path(root, self.hr)
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
class FixedPairsSource(PairedSource):
    """Pairs of images of one scale that samples are cropped from."""

    config: FixedPairs
    scale: int

    def draw(self, index: int, rng: np.random.Generator) -> CropSpec:
        """Draw the random numbers of one sample."""
        config, size = self.config, self.lr.sizes[self.order[index][0]]
        side = config.patch * self.scale
        return draw_crop(
            index, size, config.patch, side, config=config, augment=config.augment, rng=rng
        )

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Make one sample of the pair at this index."""
        spec, patch, s = self.draw(index, rng), self.config.patch, self.scale
        i, j = self.order[index]
        lr = self.lr[i][spec.top :, spec.left :][:patch, :patch]
        hr = self.hr[j][spec.top * s :, spec.left * s :][: spec.side, : spec.side]
        return query_crop(lr, hr, spec)
