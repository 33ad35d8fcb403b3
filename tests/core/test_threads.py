"""The number of threads, and that they spin only while no other program needs the cores."""

import os
import subprocess
import sys

import pytest
import torch

from liif.core import threads
from liif.core.threads import BUSY, QUIET, adapt, available_cores, seconds_waited, share_cores

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def written(root, files):
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 64),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        ({"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 64),
        ({"sys/fs/cgroup/cpu.max": "many"}, 64),
        (
            {
                "proc/self/cgroup": "0::/machine/job\n",
                "sys/fs/cgroup/machine/job/cpu.max": "max 100000\n",
                "sys/fs/cgroup/machine/cpu.max": "300000 100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            64,
        ),
    ],
)
def test_a_container_uses_what_it_may(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64), raising=False)
    assert available_cores(written(tmp_path, files)) == expected


def test_the_affinity_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    assert available_cores(tmp_path) == 2


def test_the_users_number_is_kept(monkeypatch):
    counts, started = [], []
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: counts[-1] if counts else 8)
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    monkeypatch.setattr(threads, "seconds_waited", lambda: 0.0)
    monkeypatch.setattr(threads, "_watch", lambda: started.append(True))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)

    def share():
        share_cores.__wrapped__()
        for thread in threads.threading.enumerate():
            if thread.name == "share_cores":
                thread.join()
        found = counts[:], started[:]
        counts.clear(), started.clear()
        return found

    assert share() == ([2], [True])
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert share() == ([2], [])
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert share() == ([], [])
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert share() == ([], [True])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert share() == ([], [])


@on_linux
def test_waits_are_read():
    before = seconds_waited()
    assert before is not None and 0 <= before <= (seconds_waited() or -1)


def test_a_system_that_does_not_tell(tmp_path):
    assert seconds_waited(tmp_path / "missing") is None
    written(tmp_path, {"1/status": ""})
    assert seconds_waited(tmp_path) is None
    written(tmp_path, {"1/schedstat": "7 2000000000 3\n", "2/schedstat": "1 500000000 1\n"})
    assert seconds_waited(tmp_path) == 2.5


def test_threads_sleep_while_others_compete(monkeypatch):
    events = []

    class Fake:
        @classmethod
        def start(cls, team):
            events.append("start")
            return cls()

        def end(self):
            events.append("end")

    monkeypatch.setattr(threads, "Sleepers", Fake)
    sleepers = None
    between = (BUSY + QUIET) / 2
    for share in (0.0, between, BUSY + 0.1, between, BUSY + 1, QUIET - 0.05, between, 2.0):
        sleepers = adapt(sleepers, share)
        events.append(sleepers is not None)
    expected = [False, False, "start", True, True, True, "end", False, False, "start", True]
    assert events == expected


SCRIPT = """
import os

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
import resource
import torch
from liif.core.threads import Sleepers

torch.set_num_threads(2)

def sleeps():
    x = torch.zeros(2**16)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    for _ in range(3000):
        x.add_(1)  # two threads begin, and wait for each other
    assert (x == 3000).all()
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before

def count():
    return len(os.listdir("/proc/self/task"))

sleeps()
print(sleeps(), count())
sleepers = Sleepers.start(2)
print(sleeps(), count(), len(sleepers.threads))
sleepers.end()
print(sleeps(), count())
"""


@on_linux
@pytest.mark.skipif(CORES < 2, reason="needs two cores: threads never spin on one")
def test_waiting_threads_spin_or_sleep():
    """A thread that goes to sleep gives its core away, which the system counts."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    environment.pop("OMP_WAIT_POLICY", None)
    command = [sys.executable, "-c", SCRIPT]
    found = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    spinning, asleep, again = ([*map(int, line.split())] for line in found.stdout.splitlines())
    assert asleep[0] > 500 and asleep[0] > 5 * max(spinning[0], again[0])
    assert asleep[1] >= spinning[1] + 2 * asleep[2] and again[1] <= spinning[1] + asleep[2]


def test_a_system_without_room_for_more_threads(monkeypatch):
    """The threads go on spinning; those that have begun end."""
    begun = []
    start = threads.threading.Thread.start

    def limited(thread):
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8), raising=False)
    monkeypatch.setattr(threads.threading.Thread, "start", limited)
    assert threads.Sleepers.start(2) is None
    assert len(begun) == 2 and not any(thread.is_alive() for thread in begun)


def test_no_crowd_of_sleepers(monkeypatch):
    """Two threads on a machine of many cores would take as many sleeping ones."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(256), raising=False)
    assert threads.Sleepers.start(2) is None
