"""Work on several CPU cores: one item for each core, and reading ahead."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

Item = TypeVar("Item")


def parallel_for(work: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Call work(item) for every item, each on one core, on as many cores as PyTorch has threads:
    faster than PyTorch's own threads where an item fits a core's cache. An exception in `work`
    cancels the items that have not begun, and is raised."""
    threads, items = torch.get_num_threads(), list(items)  # 1 in a worker: nested calls are serial
    try:
        pool = _start_workers(os.getpid(), threads) if threads > 1 and items else None
    except RuntimeError:  # the system allows no more threads
        pool = None
    if pool is None:
        for item in items:
            work(item)
        return
    futures: list[Future[None]] = []
    try:
        for item in items:
            futures.append(pool.submit(work, item))
        for future in futures:
            future.result()
    finally:
        wait([future for future in futures if not future.cancel()])


@lru_cache(maxsize=4)
def _start_workers(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the workers of this process (a fork does not inherit its parent's), each of which uses
    one thread of PyTorch. They are kept, because the process's number of threads is 1 while they
    start, and threads that begin then would keep 1 for life. Raises RuntimeError if they cannot be
    started."""

    def use_one_thread() -> None:
        # PyTorch reads the process's number of threads when a thread first asks for it, and keeps
        # it for the thread's life. `set_num_threads` changes the thread's number and the process's:
        # asked first, the worker keeps 1 after the process's number is restored below.
        torch.get_num_threads()
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(threads, "parallel_for", use_one_thread)
    all_started = Barrier(threads)  # an idle worker would take a second call
    try:
        for future in [pool.submit(all_started.wait) for _ in range(threads)]:
            future.result()
    except BaseException:
        all_started.abort()
        pool.shutdown()
        raise
    finally:
        torch.set_num_threads(threads)
    return pool


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, computing each one while the caller works on the previous one."""
    source = iter(items)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, source, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, source, None)
            yield item
