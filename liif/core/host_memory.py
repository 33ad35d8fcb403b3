"""The memory of this machine that is free for use."""

import os
from contextlib import suppress
from pathlib import Path


def available_memory() -> int | None:
    """Return the bytes that can be used without swapping, within the limit of a container; where
    the system does not say (macOS), all memory; None where it says nothing (Windows)."""
    found: list[int] = []
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * next(int(s.split()[1]) for s in lines if s.startswith("MemAvailable")))
    with suppress(OSError, ValueError):  # "max" where there is no limit
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / f"memory.{n}").read_text()) for n in ("max", "current"))
        inactive = (group / "memory.stat").read_text().split("inactive_file ")[1].split()[0]
        found.append(limit - used + int(inactive))
    if not found:
        with suppress(AttributeError, ValueError, OSError):
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)
