"""A thread that renders views in parts. All open views take turns, closed views are dropped."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Hashable, Iterator
from threading import Condition, Thread, current_thread

AHEAD = 4
"""Largest number of parts that are finished but not yet sent."""
GRACE_S = 2
"""Seconds for which a part of a closed view is computed on: a next view may need it, too."""

log = logging.getLogger("liif")


class Abandoned(Exception):  # noqa: N818  it is no error
    """Nobody waits for the part that is being computed."""


class _Task:
    """The parts of one view, and the queue of the finished ones."""

    def __init__(self, parts: Iterator[bytes], subject: Hashable, is_background: bool) -> None:
        self.parts = parts
        self.subject = subject
        self.is_background = is_background
        self.closed_at: float | None = None
        self.finished: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.ahead = 0

    def hand_over(self, part: bytes | None) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.finished.put_nowait, part)


class Worker:
    """A single thread, because PyTorch spreads each part over all cores by itself."""

    def __init__(self) -> None:
        self._tasks: list[_Task] = []  # in the order of their turns
        self._current: _Task | None = None
        self._changed = Condition()
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    async def run(
        self, parts: Iterator[bytes], subject: Hashable = None, is_background: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Compute the parts in the worker's thread and yield them.

        A new view has the first turn. Closing or cancelling this generator ends the work after the
        part that is in progress, or within it (`check`). An exception is logged and ends the parts
        early. Tasks of one `subject` share long work; one in the background gives way to others.
        """
        task = _Task(parts, subject, is_background)
        with self._changed:
            self._tasks.insert(len(self._tasks) if is_background else 0, task)
            self._changed.notify()
        try:
            while (part := await task.finished.get()) is not None:
                yield part
                with self._changed:
                    task.ahead -= 1
                    self._changed.notify()
        finally:
            task.closed_at = time.monotonic()
            self._drop(task)

    def check(self) -> None:
        """Raise Abandoned in the middle of a part if its view is closed and no other view needs the
        same long work; one in the background, if another view waits. Layers call it before they
        compute, in any thread."""
        task = self._current
        if task is None or current_thread() is not self._thread:
            return
        if task.closed_at is None and not task.is_background:
            return
        with self._changed:
            others = [other for other in self._tasks if other is not task]
        if any(other.subject == task.subject for other in others):
            return
        is_late = task.closed_at is not None and time.monotonic() - task.closed_at > GRACE_S
        if is_late or any(not other.is_background for other in others):
            raise Abandoned

    def _work(self) -> None:
        while True:
            with self._changed:
                while (task := self._next_task()) is None:
                    self._changed.wait()
                self._tasks.remove(task)
                self._tasks.append(task)
                task.ahead += 1
                self._current = task
            part = None
            try:
                part = next(task.parts, None)
            except Abandoned:
                pass
            except Exception as error:  # the thread serves other views, too
                if task in self._tasks:
                    log.error("a view could not be rendered: %s: %s", type(error).__name__, error)
            self._current = None
            if part is None:
                self._drop(task)
            task.hand_over(part)

    def _next_task(self) -> _Task | None:
        ready = [task for task in self._tasks if task.ahead < AHEAD]
        return min(ready, key=lambda task: task.is_background, default=None)

    def _drop(self, task: _Task) -> None:
        with self._changed:
            if task in self._tasks:
                self._tasks.remove(task)
