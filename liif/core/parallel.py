"""Many pieces of work on a processor's cores."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

Item = TypeVar("Item")


def parallel_for(work: Callable[[Item], None], items: Iterable[Item]) -> None:
    """work(item) for every item, as many at a time as PyTorch has threads, each on one thread.

    Pieces that fit a core's cache and need no waiting for one another go further than one piece at
    a time on all cores, the more so the more cores there are. Whatever `work` raises is raised.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        for item in items:
            work(item)
        return
    pool = ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1))
    try:
        for _ in pool.map(work, items):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what the initializer sets is in part the whole process's


Item = TypeVar("Item")


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each made while its forerunner is worked on."""
    source = iter(items)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, source, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, source, None)
            yield item
