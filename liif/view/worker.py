"""A thread that renders views in parts. The newest view comes first, closed views are dropped."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from threading import Condition, Thread

AHEAD = 4
"""Largest number of parts that are finished but not yet sent."""

log = logging.getLogger("liif")


class _Task:
    """The parts of one view, and the queue of the finished ones."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self.parts = parts
        self.finished: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.ahead = 0

    def hand_over(self, part: bytes | None) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.finished.put_nowait, part)


class Worker:
    """A single thread, because PyTorch spreads each part over all cores by itself."""

    def __init__(self) -> None:
        self._tasks: list[_Task] = []
        self._changed = Condition()
        Thread(target=self._work, daemon=True).start()

    async def run(self, parts: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Compute the parts in the worker's thread and yield them.

        Closing or cancelling this generator ends the work after the part that is in progress. An
        exception is logged and ends the parts early.
        """
        task = _Task(parts)
        with self._changed:
            self._tasks.append(task)
            self._changed.notify()
        try:
            while (part := await task.finished.get()) is not None:
                yield part
                with self._changed:
                    task.ahead -= 1
                    self._changed.notify()
        finally:
            self._drop(task)

    def _work(self) -> None:
        while True:
            with self._changed:
                while (task := self._next_task()) is None:
                    self._changed.wait()
                task.ahead += 1
            part = None
            try:
                part = next(task.parts, None)
            except Exception as error:  # the thread serves other views, too
                if task in self._tasks:
                    log.error("a view could not be rendered: %s: %s", type(error).__name__, error)
            if part is None:
                self._drop(task)
            task.hand_over(part)

    def _next_task(self) -> _Task | None:
        return next((task for task in reversed(self._tasks) if task.ahead < AHEAD), None)

    def _drop(self, task: _Task) -> None:
        with self._changed:
            if task in self._tasks:
                self._tasks.remove(task)
