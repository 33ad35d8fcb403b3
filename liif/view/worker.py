"""A thread that makes views part by part: the newest first, and none that nobody waits for."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from threading import Condition, Thread

AHEAD = 4
"""Parts of a view that are made before the first of them has been taken."""

log = logging.getLogger("liif")


class _Job:
    def __init__(self, parts: Iterator[bytes]) -> None:
        self.parts = parts
        self.made: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.ahead = 0

    def hand_over(self, part: bytes | None) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.made.put_nowait, part)


class Worker:
    """One thread, because PyTorch spreads every part over all cores by itself."""

    def __init__(self) -> None:
        self._jobs: list[_Job] = []
        self._changed = Condition()
        Thread(target=self._work, daemon=True).start()

    async def made(self, parts: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
        """The parts, made in the worker's thread while this waits. Whoever closes this generator,
        or is cancelled in it, has the part in work finished and no other begun. A failure is told
        in the log and ends the parts early."""
        job = _Job(parts)
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        try:
            while (part := await job.made.get()) is not None:
                yield part
                with self._changed:
                    job.ahead -= 1
                    self._changed.notify()
        finally:
            self._drop(job)

    def _work(self) -> None:
        while True:
            with self._changed:
                while (job := self._next_job()) is None:
                    self._changed.wait()
                job.ahead += 1
            part = None
            try:
                part = next(job.parts, None)
            except Exception as error:  # one view's failure must not be the end of all
                if job in self._jobs:
                    log.error("a view could not be made: %s: %s", type(error).__name__, error)
            if part is None:
                self._drop(job)
            job.hand_over(part)

    def _next_job(self) -> _Job | None:
        return next((job for job in reversed(self._jobs) if job.ahead < AHEAD), None)

    def _drop(self, job: _Job) -> None:
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
