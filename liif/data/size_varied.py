"""Training samples with ground truths of varied sizes (Chen et al. 2021, CelebA-HQ)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pydantic

from liif.core.errors import UserError
from liif.data.paired_source import PairedSource, open_paired
from liif.data.paths import LowResolutionName, data_path
from liif.data.samples import Sample, SampleConfig, SampleView, Side, check_range, draw_queries
from liif.images.resize import pillow_bicubic


class SizeVaried(SampleConfig):
    """Configuration of training samples of whole images: the high-resolution image is resized to a
    side that grows from the first image to the last."""

    sampling: Literal["size-varied"]
    lr: str
    hr: str
    lr_name: LowResolutionName = None
    """Name of a low-resolution image without suffix, in which {} stands for that of its partner in
    `hr`, e.g. "{}x2m". Usual names are found without it."""
    size: tuple[Side, Side]
    """Side of the first and of the last image's target, in pixels."""
    resize: Side | None = None
    """Side that all targets are resized to afterwards, for networks of one scale."""
    queries: pydantic.PositiveInt = 1024
    """Pixels queried per sample, drawn without repetition."""
    augment: bool = True
    """Random horizontal flips."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "SizeVaried":
        check_range("size", self.size, self.queries, self.resize or self.size[0])
        return self

    def open_source(
        self, root: str | None, channels: tuple[int, int] = (3, 3)
    ) -> "SizeVariedSource":
        lr, hr, order = open_paired(self, self.lr, self.hr, root, channels, self.lr_name)
        if len(sizes := set(lr.sizes)) > 1:
            folder = data_path(root, self.lr)
            raise UserError(f"{folder}: its images are of several sizes: {sorted(sizes)}")
        return SizeVariedSource(self, lr, hr, order)


@dataclass(frozen=True)
class SizeVariedSource(PairedSource):
    """Pairs of images that samples of varied sizes are made from."""

    config: SizeVaried

    def view(self, index: int, rng: np.random.Generator) -> SampleView:
        """Make one sample of the pair at this index, but for its queries."""
        low, high = self.config.size
        side = round(low + (high - low) * index / max(len(self) - 1, 1))
        i, j = self.order[index]
        lr, hr = self.lr[i], pillow_bicubic(self.hr[j], (side, side))
        if self.config.augment and rng.random() < 0.5:
            lr, hr = lr[:, ::-1], np.ascontiguousarray(hr[:, ::-1])
        if self.config.resize is not None:
            hr = pillow_bicubic(hr, (self.config.resize, self.config.resize))
        return SampleView(lr, hr, draw_queries(len(hr), self.config, rng))

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Make one sample of the pair at this index."""
        return self.view(index, rng).query()
