"""Training images in two folders, low- and high-resolution, matched by name."""

from dataclasses import dataclass

from liif.data.cache import CacheConfig, ImageStore
from liif.data.pairs import match_pairs
from liif.data.paths import data_path


@dataclass(frozen=True)
class PairedSource:
    """Pairs of images that training samples are made from."""

    config: CacheConfig
    lr: ImageStore
    hr: ImageStore
    order: list[tuple[int, int]]
    """(index in lr, index in hr) of each pair."""

    def __len__(self) -> int:
        return len(self.order)

    def name(self, index: int) -> str:
        """Return the high-resolution image's file name, relative to its folder."""
        return self.hr.names[self.order[index][1]]


def open_paired(
    config: CacheConfig,
    lr: str,
    hr: str,
    root: str | None,
    channels: tuple[int, int],
    lr_name: str | None = None,
) -> tuple[ImageStore, ImageStore, list[tuple[int, int]]]:
    """Open two folders under the data root and match their images: return (lr, hr, order).

    `channels` are those of the low- and of the high-resolution images, `lr_name` is as in
    `match_pairs`. Raises UserError if images
    are missing or broken, or have no partner (unless `skip_broken`).
    """
    lr_folder, hr_folder = data_path(root, lr), data_path(root, hr)
    lr_store, hr_store = config.open(lr_folder, channels[0]), config.open(hr_folder, channels[1])
    complete = not config.skip_broken
    order = match_pairs(
        lr_store.names, hr_store.names, lr_folder, hr_folder, complete=complete, lr_name=lr_name
    )
    return lr_store, hr_store, order
