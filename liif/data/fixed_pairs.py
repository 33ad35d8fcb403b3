"""Training samples from given pairs of low- and high-resolution images of integer scales."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from liif.core.errors import UserError
from liif.data.cache import ImageStore, join_stores
from liif.data.paired_source import PairedSource, open_paired
from liif.data.pairs import pair_scale
from liif.data.paths import FoldersByScale, LowResolutionName, data_path
from liif.data.samples import (
    CropSpec,
    Sample,
    SampleConfig,
    SampleView,
    Side,
    check_crop_fits,
    draw_crop,
    view_crop,
)


class FixedPairs(SampleConfig):
    """Configuration of training samples from pairs of images with integer scales."""

    sampling: Literal["pairs"]
    lr: FoldersByScale
    """Folder of low-resolution images of one scale; or several by scale, {2: FOLDER, 3: FOLDER}, of
    which every image is used once in a pass."""
    hr: str
    """Folder of high-resolution images, with the same names."""
    lr_name: LowResolutionName = None
    """Name of a low-resolution image without suffix, in which {} stands for that of its partner in
    `hr`, e.g. "{}x2m". Usual names are found without it."""
    patch: Side = 48
    """Side of the low-resolution crop."""
    augment: bool = True
    """Random flips and transposition."""

    def open_source(
        self, root: str | None, channels: tuple[int, int] = (3, 3)
    ) -> "FixedPairsSource":
        by_scale = {None: self.lr} if isinstance(self.lr, str) else self.lr
        opened = [
            open_paired(self, name, self.hr, root, channels, self.lr_name)
            for name in by_scale.values()
        ]
        parts: list[tuple[Path, ImageStore, int]] = []
        order: list[tuple[int, int]] = []
        scales: list[int] = []
        for (stated, name), (lr, hr, pairs) in zip(by_scale.items(), opened, strict=True):
            folder = data_path(root, name)
            scale = self._scale(lr, hr, pairs, folder, data_path(root, self.hr))
            if stated not in (None, scale):
                raise UserError(
                    f"train_data.lr.{stated}: the images in {folder} are of scale {scale}"
                )
            first = sum(len(store) for _, store, _ in parts)
            parts.append((folder, lr, 1))
            order += [(first + i, j) for i, j in pairs]
            scales += [scale] * len(pairs)
        pixels = (self.patch * min(scales)) ** 2
        if self.queries > pixels:
            raise UserError(
                f"train_data.queries: at most the {pixels} pixels of a crop, x{min(scales)}"
            )
        lr = parts[0][1] if len(parts) == 1 else join_stores(parts)
        return FixedPairsSource(self, lr, opened[0][1], order, scales)

    def _scale(
        self, lr: ImageStore, hr: ImageStore, pairs: list[tuple[int, int]], lr_folder: Path,
        hr_folder: Path,
    ) -> int:  # fmt: skip
        """Return the one scale of the pairs of a folder. Raises UserError if there is none, or an
        image is smaller than a crop."""
        scales = {
            pair_scale(lr.sizes[i], hr.sizes[j], lr_folder / lr.names[i], hr_folder / hr.names[j])
            for i, j in pairs
        }
        if len(scales) > 1:
            raise UserError(f"{hr_folder}: its images are of several scales: {sorted(scales)}")
        check_crop_fits(lr, self.patch, lr_folder, "train_data.patch")
        return scales.pop()


@dataclass(frozen=True)
class FixedPairsSource(PairedSource):
    """Pairs of images that samples are cropped from."""

    config: FixedPairs
    scales: list[int]
    """The scale of each pair."""

    def draw(self, index: int, rng: np.random.Generator) -> CropSpec:
        """Draw the random numbers of one sample."""
        config, size = self.config, self.lr.sizes[self.order[index][0]]
        side = config.patch * self.scales[index]
        return draw_crop(
            index, size, config.patch, side, config=config, augment=config.augment, rng=rng
        )

    def view(self, index: int, rng: np.random.Generator) -> SampleView:
        """Make one sample of the pair at this index, but for its queries."""
        spec, patch, s = self.draw(index, rng), self.config.patch, self.scales[index]
        i, j = self.order[index]
        lr = self.lr[i][spec.top :, spec.left :][:patch, :patch]
        hr = self.hr[j][spec.top * s :, spec.left * s :][: spec.side, : spec.side]
        return view_crop(lr, hr, spec)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Make one sample of the pair at this index."""
        return self.view(index, rng).query()
