"""How many threads PyTorch uses, and how they wait for each other.

PyTorch's threads (OpenMP's) spin while they wait for the next piece of work. On an idle machine
that is fastest. Beside another busy program a spinning thread holds the core that the thread it
waits for needs, and a training step takes several times as long. GNU's OpenMP library, with which
PyTorch is built for Linux, reads at its start how long to spin, but spins thousands of times less
whenever a process has more OpenMP threads than cores. Such threads are added here, asleep, for as
long as others compete for the cores. Neither the number of threads that compute nor any result
changes.
"""

import os
import threading
import time
from functools import lru_cache
from math import ceil
from pathlib import Path

import torch

WINDOW = 0.25
"""Seconds between two looks at how long this process's threads have waited for a core."""
BUSY, QUIET = 0.2, 0.1
"""Waits above and below which others compete, and no longer compete, for the cores: seconds a
second, summed over threads. Measured: 0.04 on an idle machine; 0.77 beside one busy process while
threads spin, 0.48 while they do not."""
MOST_SLEEPERS = 64
"""Threads asleep at most; where more would be needed, the threads keep spinning."""


@lru_cache(maxsize=1)
def share_cores() -> None:
    """Compute on the cores that this process may use, and spin only while no other program needs
    them: for this whole process, from now on. A number of threads that was set by the environment
    (OMP_NUM_THREADS, MKL_NUM_THREADS) or by `torch.set_num_threads` is kept.

    The second part takes effect on Linux, where the system tells how long threads wait for a core.
    OMP_WAIT_POLICY and GOMP_SPINCOUNT turn it off.
    """
    is_given = {"OMP_NUM_THREADS", "MKL_NUM_THREADS"} & os.environ.keys()
    if not is_given and available_cores() < torch.get_num_threads():
        torch.set_num_threads(available_cores())
    is_decided = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys()
    if torch.get_num_threads() > 1 and not is_decided and seconds_waited() is not None:
        threading.Thread(target=_watch, name="share_cores", daemon=True).start()


def available_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use: those of its affinity, or fewer if a container
    limits its time (cgroup's quota, rounded up). Files of the system are read below `root`."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    return max(1, min([cores, *(ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> list[float]:
    """Return the limits on this process's time, in cores, of both versions of cgroups."""
    groups = root / "sys/fs/cgroup"
    found = [_quotient(groups / "cpu/cpu.cfs_quota_us", groups / "cpu/cpu.cfs_period_us")]
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    own = next((line[4:] for line in lines if line.startswith("0::/")), "")
    for place in (groups / own, *(groups / own).parents):  # a group's limit is that of its parts
        found.append(_quotient(place / "cpu.max"))
        if place == groups:
            break
    return [quota for quota in found if quota is not None]


def _quotient(*files: Path) -> float | None:
    """Return the quotient of the first two numbers in files; None if there are none: no limit."""
    try:
        used, period = " ".join(file.read_text() for file in files).split()[:2]
        quota = float(used) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return quota if quota > 0 else None


def seconds_waited(folder: Path = Path("/proc/self/task")) -> float | None:
    """Return how long the threads of this process have waited for a core so far, in sum; None where
    the system does not tell."""
    try:
        found = [_waited(thread / "schedstat") for thread in folder.iterdir()]
    except OSError:
        return None
    known = [seconds for seconds in found if seconds is not None]
    return sum(known) if known else None


def _waited(file: Path) -> float | None:
    try:
        return int(file.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # the thread has ended meanwhile
        return None


def _watch() -> None:
    """Keep threads asleep while others compete for the cores; never returns."""
    sleepers: Sleepers | None = None
    before, then = seconds_waited() or 0.0, time.perf_counter()
    while True:
        time.sleep(WINDOW)
        waited, now = seconds_waited() or 0.0, time.perf_counter()
        sleepers = adapt(sleepers, (waited - before) / (now - then))
        before, then = waited, now


def adapt(sleepers: "Sleepers | None", share: float) -> "Sleepers | None":
    """Return the threads that should be asleep from now on, given those that are and the seconds a
    second that this process's threads have waited for a core since."""
    if sleepers is None and share > BUSY:
        return Sleepers.start(torch.get_num_threads())
    if sleepers is not None and share < QUIET:
        sleepers.end()
        return None
    return sleepers


class Sleepers:
    """Threads that each have a team of OpenMP threads, all asleep."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self._ended = threading.Event()

    @classmethod
    def start(cls, team: int) -> "Sleepers | None":
        """Return as many as it takes to have more OpenMP threads than cores, each with a team of
        so many threads; None if that takes too many, or more than the system allows."""
        cores = len(os.sched_getaffinity(0))
        count = max(1, ceil((cores + 1 - team) / (team - 1)))
        if count * team > MOST_SLEEPERS + cores:
            return None
        sleepers = cls()
        try:
            for _ in range(count):
                thread = threading.Thread(target=sleepers._sleep, daemon=True)
                thread.start()
                sleepers.threads.append(thread)
        except RuntimeError:
            sleepers.end()
            return None
        return sleepers

    def end(self) -> None:
        """End the threads, and with them their teams."""
        self._ended.set()
        for thread in self.threads:
            thread.join()

    def _sleep(self) -> None:
        torch.zeros(2**20).add_(1)  # large enough for all threads: the team begins
        self._ended.wait()
