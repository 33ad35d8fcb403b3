"""Measure training samples per second on one core under each degradation, from mapped images to
assembled batches: scale U(1, 4), 48 × 48 px, 2,304 queries. Times are CPU times, which other work
on the machine lengthens less than wall-clock times.

    python benchmarks/degrade.py [--images FOLDER]
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from measure import arguments, report

from liif.data.degradations.bicubic import BicubicConfig
from liif.data.degradations.build import DEGRADATIONS, label
from liif.data.degradations.degradation import Degradation
from liif.data.loader import batches
from liif.data.random_scale import RandomScale, RandomScaleSource

BATCH = 16


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--images", default="builtin:train", help="photographs; default: bundled")
    parser.add_argument("--batches", type=int, default=10, help="batches per timed run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    flavours = ("pillow", "matlab-2014", "matlab", "torch")
    known: Sequence[Degradation] = [
        *(BicubicConfig(flavour=flavour) for flavour in flavours),
        # The others need no options.
        *(kind() for name, kind in DEGRADATIONS.items() if name not in ("bicubic", "pipeline")),  # pyright: ignore
    ]
    with tempfile.TemporaryDirectory() as folder:
        images = options.images
        source = RandomScale(images=images, cache_dir=str(Path(folder) / "cache")).open_source(None)

        def seconds_of(degradation: Degradation) -> float:
            config = source.config.model_copy(update={"degrade": degradation})
            one = RandomScaleSource(config, source.store)
            start = time.process_time()
            for _ in batches(one, seed=0, batch_size=BATCH, start=0, stop=options.batches):
                pass
            return time.process_time() - start

        rounds = [[seconds_of(each) for each in known] for _ in range(options.rounds + 1)]
        seconds = [statistics.median(times[1:]) for times in zip(*rounds, strict=True)]
    rows = [
        {
            "": label(each),
            "ms per sample": 1000 * taken / (BATCH * options.batches),
            "samples/s": BATCH * options.batches / taken,
        }
        for each, taken in zip(known, seconds, strict=True)
    ]
    report("training samples by degradation, one core", rows, options.json)


if __name__ == "__main__":
    main()
