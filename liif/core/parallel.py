"""Work on several CPU cores: one item for each core, and reading ahead."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

Item = TypeVar("Item")


def parallel_for(work: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Call work(item) for every item, each on one core, on as many cores as PyTorch has threads:
    faster than PyTorch's own threads where an item fits a core's cache. An exception in `work`
    cancels the items that have not begun, and is raised."""
    threads, items = torch.get_num_threads(), list(items)
    if threads == 1 or not items:
        for item in items:
            work(item)
        return
    workers = min(threads, len(items))
    all_started = Barrier(workers)

    def use_one_thread(_: int) -> None:
        # PyTorch reads the process's number of threads when a thread first asks for it, and keeps
        # it for the thread's life. `set_num_threads` changes the thread's number and the process's:
        # asked first, the worker keeps 1 after the process's number is restored below.
        torch.get_num_threads()
        all_started.wait()  # so that every worker takes one of these calls
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(workers)
    try:
        try:
            list(pool.map(use_one_thread, range(workers)))
        finally:
            # At once, not after the work: threads that begin while the process's number is 1 would
            # keep 1 for life.
            torch.set_num_threads(threads)
        list(pool.map(work, items))
    finally:
        pool.shutdown(cancel_futures=True)


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, computing each one while the caller works on the previous one."""
    source = iter(items)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, source, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, source, None)
            yield item
