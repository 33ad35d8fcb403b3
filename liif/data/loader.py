"""Seeded, endless, resumable batches.

A sample is a pure function of (seed, sample number): the image is the next of a permutation drawn
for each pass over the set, everything else comes from a counter-based generator keyed by the two.
Any number of workers makes the same batches, and resuming at a step needs no state.
"""

import errno
import math
import multiprocessing
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from functools import lru_cache
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from liif.core.errors import UserError
from liif.data.fixed_pairs import FixedPairsSource
from liif.data.gpu import DeviceSampler, stack_specs
from liif.data.random_scale import RandomScaleSource
from liif.data.samplers import SampleSource, ViewableSource
from liif.data.samples import CropSpec, Sample, SampleView
from liif.images.convert import to_unit

STOPS = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGUSR1] if sys.platform != "win32" else [])
"""Signals that ask a training to save and stop."""
SAMPLES, ORDERS, BATCHES = 0, 1, 2
"""Purposes of streams of random numbers."""
POLL_SECONDS = 1
"""How often a process that waits for data looks whether it was told to stop."""
SHARED_MEMORY_FULL = (
    "shared memory (/dev/shm) is full: give the container more (docker run --shm-size 1g), or use "
    "fewer workers, or workers: 0"
)


class Batch(NamedTuple):
    """B samples: B low-resolution patches of one size, Q queried pixels each."""

    lr: Tensor  # (B, C, h, w): as in the images' store; after `to` float in [0, 1]
    coord: Tensor  # float32 (B, Q, 2)
    cell: Tensor  # float32 (B, 2)
    target: Tensor  # (B, Q, C): colours, of the dtype of lr
    patch: int | None = None  # P where the Q = P·P pixels are a square, row by row
    is_crop: bool = False  # whether they are all pixels of crops of one size
    slopes: Tensor | None = None  # (B, Q, C, 2): of the model, for losses that need them
    log_likelihood: Tensor | None = None  # (B, Q): of the target under the model, likewise

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device, with colours as float in [0, 1]."""
        lr, coord, cell, target = (t.to(device, non_blocking=True) for t in self[:4])
        return Batch(to_unit(lr), coord, cell, to_unit(target), self.patch, self.is_crop)

    def split(self, parts: int) -> "list[Batch]":
        """Return the samples as `parts` smaller batches, fewer if there are fewer samples."""
        pieces = zip(*(t.tensor_split(min(parts, len(self.lr))) for t in self[:4]), strict=True)
        return [Batch(*piece, patch=self.patch, is_crop=self.is_crop) for piece in pieces]


def stream(seed: int, number: int, purpose: int) -> np.random.Generator:
    """Return a generator of random numbers (Philox) keyed by seed, number and purpose."""
    key = np.array([seed, number], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, purpose]))


@lru_cache(maxsize=2)
def order_of_pass(seed: int, number: int, images: int) -> np.ndarray:
    """Return the order in which one pass over the set visits its images."""
    return stream(seed, number, ORDERS).permutation(images)


def image_of(source: SampleSource, seed: int, number: int) -> int:
    """Return the index of the image that sample `number` of the endless sequence is cut from."""
    turn, position = divmod(number, len(source))
    return int(order_of_pass(seed, turn, len(source))[position])


def source_of_batch(source: SampleSource, seed: int, step: int) -> SampleSource:
    """Return the source of the samples of batch `step`, which may share a scale."""
    if not isinstance(source, RandomScaleSource):
        return source
    return source.of_batch(stream(seed, step, BATCHES))


def make_sample(source: SampleSource, seed: int, number: int) -> Sample:
    """Return sample `number` of the endless sequence."""
    return source.sample(image_of(source, seed, number), stream(seed, number, SAMPLES))


def view_sample(source: ViewableSource, seed: int, number: int) -> tuple[int, SampleView]:
    """Return the image that sample `number` is cut from, and the sample before its queries."""
    index = image_of(source, seed, number)
    return index, source.view(index, stream(seed, number, SAMPLES))


def draw_sample(source: SampleSource, seed: int, number: int) -> CropSpec:
    """Return the random numbers that sample `number` is made from."""
    assert isinstance(source, RandomScaleSource | FixedPairsSource)  # DeviceSampler refuses others
    return source.draw(image_of(source, seed, number), stream(seed, number, SAMPLES))


class _Arrays:
    """The arrays of a batch, or of its random numbers, on their way from a worker.

    They travel through a pipe. PyTorch would put tensors into shared memory, of which a container
    has 64 MB by default, and a worker that finds it full leaves the training waiting. DataLoader
    does not look into this class.
    """

    def __init__(self, *arrays: np.ndarray | Tensor) -> None:
        self.arrays = arrays

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(map(torch.as_tensor, self.arrays))

    def pin_memory(self) -> "_Arrays":
        """Return a page-locked copy; DataLoader calls this after the pipe, in its own thread."""
        return _Arrays(*(tensor.pin_memory() for tensor in self.tensors()))


class Batches(Dataset["_Arrays | UserError"]):
    """Batch `step` holds samples step·batch_size … (step + 1)·batch_size - 1, or those of them that
    are in `share`; with `draws`, only the random numbers that they are made from."""

    def __init__(
        self, source: SampleSource, seed: int, batch_size: int, share: range, *, workers: int,
        draws: bool,
    ) -> None:  # fmt: skip
        self.source, self.seed, self.batch_size, self.share = source, seed, batch_size, share
        self.draws = draws
        # Sample number + 1 that each worker reads, in memory that outlives the worker.
        self.reading = multiprocessing.RawArray("q", max(workers, 1))

    def __getitem__(self, step: int) -> "_Arrays | UserError":
        first, source = step * self.batch_size, source_of_batch(self.source, self.seed, step)
        if self.draws:
            specs = [draw_sample(source, self.seed, first + i) for i in self.share]
            is_crop = isinstance(source, RandomScaleSource) and source.config.layout == "crop"
            return _Arrays(*stack_specs(specs, is_crop=is_crop))
        try:
            samples = [self._sample(source, first + i) for i in self.share]
        except UserError as error:  # a worker's exception would arrive as a printed traceback
            return error
        lr, coord, cell, target = (np.stack(parts) for parts in zip(*samples, strict=True))
        return _Arrays(np.ascontiguousarray(lr.transpose(0, 3, 1, 2)), coord, cell, target)

    def _sample(self, source: SampleSource, number: int) -> Sample:
        if (worker := get_worker_info()) is not None:
            self.reading[worker.id] = number + 1
        return make_sample(source, self.seed, number)

    def files(self) -> list[str]:
        """Return the files that the workers read last."""
        numbers = [n - 1 for n in self.reading if n]
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
    layout: Literal["points", "patch", "crop"] = "points",
    device_sampler: DeviceSampler | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Generator[Batch, None, None]:
    """Yield batches start … stop - 1.

    Args:
        source: the images.
        share: the samples of each batch that this process gets; all by default.
        workers: processes that load ahead of time; 0 loads when a batch is requested.
        pin_memory: load into page-locked memory, for copies to a GPU that do not wait.
        layout: of the queried pixels, as `SampleConfig.layout`.
        device_sampler: makes the samples on a device; the workers only draw random numbers.
        stopping: called every second while waiting for data; if true, there are no more batches.

    Raises UserError if a file cannot be read, a worker died, or shared memory is full.
    """
    share, draws = share or range(batch_size), device_sampler is not None
    dataset = Batches(source, seed, batch_size, share, workers=workers, draws=draws)
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(start, stop),  # pyright: ignore[reportArgumentType]
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=pin_memory,
        timeout=POLL_SECONDS if workers else 0,
        worker_init_fn=_ignore_signals,
        generator=torch.Generator(),
    )
    others, started, items = set(multiprocessing.active_children()), set[BaseProcess](), None
    try:
        if workers:
            multiprocessing.Lock()  # fails early, and cleanly, without shared memory
        items = _until_stopped(iter(loader), stopping)
        started = set(multiprocessing.active_children()) - others
        for item in items:
            if isinstance(item, UserError):
                raise item
            tensors = item.tensors()
            parts = tensors if device_sampler is None else device_sampler.batch(*tensors)
            side = None if layout == "points" else math.isqrt(parts[1].shape[1])
            yield Batch(*parts, patch=side, is_crop=layout == "crop")
    except BaseException as error:
        # Without its frames: they would keep the workers, and the process that waits for them.
        raise _explained(error, dataset).with_traceback(None) from None
    finally:
        # Ends the workers, but for one that is stuck and deaf to SIGTERM. Python 3.12.3 frees what
        # a generator holds only with the generator.
        if items is not None:
            items.close()
            items = None
        for worker in started:
            worker.kill()


def _until_stopped(
    items: Iterator[Any], stopping: Callable[[], bool]
) -> Generator[Any, None, None]:
    """Yield the items of a DataLoader, whose timeout only serves to ask `stopping`."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader timed out" not in str(error):
                raise
            if stopping():
                return
            continue
        yield item


def _explained(error: BaseException, dataset: Batches) -> BaseException:
    """Return the error, or a UserError in place of one that speaks of DataLoader's insides."""
    text = str(error) if isinstance(error, RuntimeError) else ""
    is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.ENOMEM)
    if is_full or "shared memory" in text or "Bus error" in text:
        return UserError(SHARED_MEMORY_FULL)
    if text.startswith("DataLoader worker (pid"):
        reason = text.splitlines()[0].rstrip(".")
        files = ", ".join(dict.fromkeys(dataset.files()))
        return UserError(
            f"{reason}. It or another worker was reading: {files}. Out of memory? Use fewer "
            "workers, or workers: 0 to see the error itself"
        )
    return error


def _ignore_signals(worker: int) -> None:
    """Leave signals that reach every process to the training loop; workers end with it."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
