"""Seeded, endless, resumable batches.

A sample is a pure function of (seed, sample number): the image is the next of a permutation drawn
for each pass over the set, everything else comes from a counter-based generator keyed by the two.
So any number of workers makes the same batches, and resuming at a step needs no state.
"""

import signal
import sys
from collections.abc import Generator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from liif.core.errors import UserError
from liif.data.gpu import CropSpecs, DeviceSampler
from liif.data.samplers import SampleSource
from liif.data.samples import CropSpec, Sample
from liif.data.size_varied import SizeVariedSource

STOPS = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGUSR1] if sys.platform != "win32" else [])
"""Signals that ask a training to save and stop."""
SAMPLES, ORDERS = 0, 1  # what a stream of random numbers is for


class Batch(NamedTuple):
    """B samples; B low-resolution patches of one size, Q queries each."""

    lr: Tensor
    """(B, 3, h, w): uint8 as loaded, float in [0, 1] after `to`."""
    coord: Tensor
    """float32 (B, Q, 2)."""
    cell: Tensor
    """float32 (B, 2)."""
    target: Tensor
    """(B, Q, 3): as lr."""

    def to(self, device: torch.device) -> "Batch":
        """On the device, colours as float in [0, 1]."""
        lr, coord, cell, target = (t.to(device, non_blocking=True) for t in self)
        return Batch(lr.float() / 255, coord, cell, target.float() / 255)

    def split(self, parts: int) -> "list[Batch]":
        """The same samples in so many smaller batches, as far as there are samples."""
        pieces = zip(*(t.tensor_split(min(parts, len(self.lr))) for t in self), strict=True)
        return [Batch(*piece) for piece in pieces]


def stream(seed: int, number: int, purpose: int) -> np.random.Generator:
    """The random numbers of one thing, from Philox keyed by what it is."""
    key = np.array([seed, number], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, purpose]))


@lru_cache(maxsize=2)
def order_of_pass(seed: int, number: int, images: int) -> np.ndarray:
    """The order in which one pass over the set visits its images."""
    return stream(seed, number, ORDERS).permutation(images)


def image_of(source: SampleSource, seed: int, number: int) -> int:
    """Which image sample `number` of the endless sequence is cut from."""
    turn, position = divmod(number, len(source))
    return int(order_of_pass(seed, turn, len(source))[position])


def make_sample(source: SampleSource, seed: int, number: int) -> Sample:
    """Sample `number` of the endless sequence."""
    return source.sample(image_of(source, seed, number), stream(seed, number, SAMPLES))


def draw_sample(source: SampleSource, seed: int, number: int) -> CropSpec:
    """The random numbers that sample `number` is made from."""
    assert not isinstance(source, SizeVariedSource)  # DeviceSampler knows none
    return source.draw(image_of(source, seed, number), stream(seed, number, SAMPLES))


class Batches(Dataset["Batch | CropSpecs | UserError"]):
    """Batch `step` holds samples step·batch_size … (step + 1)·batch_size - 1, or of these those
    that are in `share`; or only what they are made from."""

    def __init__(
        self,
        source: SampleSource,
        *,
        seed: int,
        batch_size: int,
        share: range,
        workers: int,
        draws: bool = False,
    ) -> None:
        self.source, self.seed, self.batch_size, self.share = source, seed, batch_size, share
        self.draws = draws
        # What each worker is at, in memory that outlives it: a sample's number + 1.
        self.at = torch.zeros(workers, dtype=torch.int64).share_memory_()

    def __getitem__(self, step: int) -> "Batch | CropSpecs | UserError":
        first = step * self.batch_size
        if self.draws:
            return CropSpecs.of(
                [draw_sample(self.source, self.seed, first + i) for i in self.share]
            )
        try:
            samples = [self._sample(first + i) for i in self.share]
        except UserError as error:  # a worker's exception would arrive as a printed traceback
            return error
        lr, coord, cell, target = (
            torch.from_numpy(np.stack(parts)) for parts in zip(*samples, strict=True)
        )
        return Batch(lr.permute(0, 3, 1, 2).contiguous(), coord, cell, target)

    def _sample(self, number: int) -> Sample:
        if (worker := get_worker_info()) is not None:
            self.at[worker.id] = number + 1
        return make_sample(self.source, self.seed, number)

    def files(self) -> list[str]:
        """What the workers read last."""
        numbers = [n - 1 for n in self.at.tolist() if n]
        return [self.source.name(image_of(self.source, self.seed, n)) for n in numbers]


def batches(
    source: SampleSource,
    *,
    seed: int,
    batch_size: int,
    start: int,
    stop: int,
    share: range | None = None,
    workers: int = 0,
    pin_memory: bool = False,
    device_sampler: DeviceSampler | None = None,
) -> Generator[Batch, None, None]:
    """Batches start … stop - 1, made ahead of time by `workers` processes (0: when asked for); of
    each, all samples or those in `share`. With `device_sampler` the processes only draw the random
    numbers, and the samples are made on the device.

    Raises:
        UserError: a file that cannot be read, wherever it was read.
    """
    share = share or range(batch_size)
    dataset = Batches(
        source,
        seed=seed,
        batch_size=batch_size,
        share=share,
        workers=workers,
        draws=device_sampler is not None,
    )
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(start, stop),  # pyright: ignore[reportArgumentType]
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=pin_memory,
        worker_init_fn=_ignore_signals,
        generator=torch.Generator(),
    )
    try:
        for batch in loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch if device_sampler is None else Batch(*device_sampler.batch(batch))
    except BaseException as error:
        if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid"):
            reason = str(error).splitlines()[0].rstrip(".")
            files = ", ".join(dict.fromkeys(dataset.files()))
            error = UserError(
                f"{reason}. It, or another one, was reading: {files}. Out of memory? Try fewer "
                "workers, or workers: 0 to see the mistake itself"
            )
        # Without its frames: they would keep the workers, and the process that waits for them.
        raise error.with_traceback(None) from None


def _ignore_signals(worker: int) -> None:
    """Ctrl-C, and a scheduler's signals, reach every process; only the training loop acts on them,
    and its workers end with it."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
