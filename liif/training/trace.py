"""A trace of a few training steps, which shows what the time is spent on."""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from torch.profiler import profile, schedule

SKIPPED, TRACED = 6, 3
"""Steps before the trace, of which the last starts the profiler, and steps in it."""

log = logging.getLogger("liif")


@contextmanager
def traced(file: Path | None) -> Generator[Callable[[], None], None, None]:
    """Write a trace in Chrome's format to a file, a .json.gz; None for no trace. Yields the
    function to call after each step."""
    if file is None:
        yield lambda: None
        return

    def write(profiler: profile) -> None:
        profiler.export_chrome_trace(str(file))
        log.info("trace of %d steps, for https://ui.perfetto.dev: %s", TRACED, file)

    steps = schedule(wait=SKIPPED - 1, warmup=1, active=TRACED, repeat=1)
    with profile(schedule=steps, on_trace_ready=write) as profiler:
        yield profiler.step
    if not file.exists():
        log.warning("profile: no trace: it needs %d steps", SKIPPED + TRACED)
