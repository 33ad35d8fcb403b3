"""Batches come through pipes; a process that waits for data can be stopped."""

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from liif.core.errors import UserError
from liif.data.loader import batches
from liif.data.samples import Sample


class Source:
    """Three images of noise, in samples of half a megabyte."""

    def __len__(self):
        return 3

    def name(self, index):
        return f"{index}.png"

    def sample(self, index, rng):
        pixels = rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)
        return Sample(pixels, np.zeros((9, 2), np.float32), np.ones(2, np.float32), pixels[0, :9])


class Stuck(Source):
    def sample(self, index, rng):
        time.sleep(600)


SMALL_SHM = """
import sys
sys.path[:0] = sys.argv[1:]
from data.test_loader import Source
from liif.data.loader import batches
count = sum(1 for _ in batches(Source(), seed=0, batch_size=2, start=0, stop=30, workers=2))
print(count, "batches")
"""


def test_a_small_shared_memory_is_enough(tmp_path):
    """Docker gives a container 64 MB; here it is 64 kB, less than one batch."""
    mount = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    namespace = ["unshare", "--mount", "sh", "-c", mount + ' && exec "$@"', "sh"]
    possible = (
        shutil.which("unshare")
        and not subprocess.run([*namespace, "true"], capture_output=True).returncode
    )
    if not possible:
        pytest.skip("needs the right to mount a tmpfs in a namespace of its own")
    done = subprocess.run(
        [*namespace, sys.executable, "-c", SMALL_SHM, *sys.path],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.stdout == "30 batches\n", done.stderr
    assert "Traceback" not in done.stderr


def test_no_room_for_semaphores_is_one_line(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(multiprocessing, "Lock", full)
    with pytest.raises(UserError, match=r"shared memory .* is full: .*--shm-size.*workers: 0"):
        list(batches(Source(), seed=0, batch_size=2, start=0, stop=3, workers=1))


def test_waiting_for_data_can_be_stopped():
    asked = []

    def stopping():
        asked.append(True)
        return len(asked) > 1

    before = set(multiprocessing.active_children())
    found = batches(Stuck(), seed=0, batch_size=2, start=0, stop=3, workers=1, stopping=stopping)
    assert list(found) == [] and len(asked) == 2
    # The worker ignores SIGTERM: left alone, it would keep this process from ending.
    for worker in set(multiprocessing.active_children()) - before:
        worker.join(60)
        assert worker.exitcode is not None


def test_workers_end_by_themselves_before_they_are_killed(monkeypatch):
    """Otherwise DataLoader reports a killed worker at the end of every training."""
    alive = []
    monkeypatch.setattr(
        multiprocessing.process.BaseProcess, "kill", lambda worker: alive.append(worker.is_alive())
    )
    found = batches(Source(), seed=0, batch_size=2, start=0, stop=9, workers=1)
    next(found)
    found.close()
    assert alive == [False]
