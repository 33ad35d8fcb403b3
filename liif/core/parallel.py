"""Work on several CPU cores: one item for each core, in the background, and reading ahead."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_for(work: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Call work(item) for every item, each on one core, on as many cores as PyTorch has threads:
    faster than PyTorch's own threads where an item fits a core's cache. An exception in `work`
    cancels the items that have not begun, and is raised."""
    items = list(items)
    if not items or (pool := _workers()) is None:
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


def background_map(
    work: Callable[[Item], Result], items: Iterable[Item], limit: int = 2
) -> Iterator[Result]:
    """Yield work(item) for every item, in order. While the calling thread makes the next item, the
    results of up to `limit` earlier ones are computed, each on one core of `parallel_for`.

    Whatever stops `items`, an interruption included, is raised after the results of the items
    before it, so that these are not lost. Closing the iterator waits for the work that has begun.
    """
    if (pool := _workers()) is None:
        yield from map(work, items)
        return
    source, stopped = iter(items), None
    pending: deque[Future[Result]] = deque()
    try:
        while stopped is None:
            try:
                pending.append(pool.submit(work, next(source)))
            except BaseException as error:
                stopped = error
            while pending and (stopped or len(pending) > limit or pending[0].done()):
                yield pending.popleft().result()
        if not isinstance(stopped, StopIteration):
            raise stopped
    finally:
        wait([future for future in pending if not future.cancel()])


def _workers() -> ThreadPoolExecutor | None:
    """Return as many workers as PyTorch has threads; None where everything is to be done by the
    calling thread."""
    threads = torch.get_num_threads()  # 1 in a worker: nested calls are serial
    try:
        return _start_workers(os.getpid(), threads) if threads > 1 else None
    except RuntimeError:  # the system allows no more threads
        return None


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
