"""Measure training samples per second on one core: with the mapped cache of this package, with
decoding every image, and with unpickling whole images, as the published code does.

    python benchmarks/data.py [--images FOLDER]
"""

import os
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import arguments, interleaved, report

from liif.data.cache import open_images
from liif.data.loader import make_sample
from liif.data.random_scale import RandomScale, RandomScaleSource
from liif.images.convert import to_image
from liif.images.rgb8 import list_images, read_image, write_image


class Pickled:
    """The published cache: every access unpickles a whole image and converts it to a float tensor;
    the crop is converted back to 8 bits for resizing."""

    def __init__(self, folder: Path, paths: list[Path]) -> None:
        self.files = [folder / f"{i}.pkl" for i in range(len(paths))]
        for file, path in zip(self.files, paths, strict=True):
            file.write_bytes(pickle.dumps(read_image(path), protocol=4))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> "FloatImage":
        pixels = pickle.loads(self.files[index].read_bytes())
        return FloatImage(torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float() / 255)


class Evicted:
    """The mapped cache without free memory for it: every crop is read from the disk."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.copy = pickle.dumps(open_images(folder, cache="mmap", cache_dir=cache))
        self.file = next(cache.glob("*/pixels.u8"))

    def __len__(self) -> int:
        return len(pickle.loads(self.copy))

    def __getitem__(self, index: int) -> np.ndarray:
        with self.file.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return pickle.loads(self.copy)[index]  # mapped again: mapped pages are not evicted


class FloatImage:
    """A float tensor (3, H, W) whose crops are uint8 (h, w, 3)."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self.shape = (*tensor.shape[1:], 3)

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        return to_image(self.tensor[(slice(None), *window)])


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--images", type=Path, help="2040-px photographs; default: bundled")
    parser.add_argument("--limit", type=int, default=10, help="number of images")
    parser.add_argument("--samples", type=int, default=40, help="samples per timed run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    photos = Path(__file__).parent.parent / "liif" / "photos" / "train"
    paths = list_images(options.images or photos)[: options.limit]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i, path in enumerate(paths):
            write_image(folder / "png" / f"{i}.png", read_image(path))
        config = RandomScale(images="")
        mapped = open_images(folder / "png", cache="mmap", cache_dir=folder / "cache")
        source = RandomScaleSource(config, mapped)
        (folder / "pickled").mkdir()
        stores = {
            "decoded each time (PNG)": open_images(folder / "png", cache="none"),
            "unpickled each time": Pickled(folder / "pickled", paths),
            "mapped": mapped,
            "mapped, no page of it in memory": Evicted(folder / "png", folder / "evicted"),
        }

        def run(store: Any) -> None:  # noqa: ANN401
            one = replace(source, store=store)
            for number in range(options.samples):
                make_sample(one, 0, number)

        candidates = {label: lambda store=store: run(store) for label, store in stores.items()}
        seconds = interleaved(candidates, options.rounds, torch.device("cpu"))
    rows = [
        {
            "": label,
            "ms a sample": 1000 * seconds[label] / options.samples,
            "samples/s": options.samples / seconds[label],
            "mapped is faster by": seconds[label] / seconds["mapped"],
        }
        for label in stores
    ]
    h, w = mapped.sizes[0]
    report(f"{len(paths)} pictures of {w}×{h} px and alike, one core", rows, options.json)


if __name__ == "__main__":
    main()
