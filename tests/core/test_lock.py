"""Locks between processes: one holder, freed by its end, not held by what it forked."""

import errno
import multiprocessing
import os
import signal
import time

import pytest

from liif.core.errors import UserError
from liif.core.lock import file_lock
from liif.training.lock import is_occupied, occupied


def hold(path, ready, worker):
    with file_lock(path):
        if worker and os.fork() == 0:  # a loader worker, which outlives its killed parent
            time.sleep(5)
            os._exit(0)
        ready.set()
        time.sleep(20)


@pytest.mark.parametrize("worker", [False, True])
def test_it_is_freed_when_the_holder_is_killed(tmp_path, worker):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "x.lock", ready, worker))
    process.start()
    assert ready.wait(30)
    with file_lock(tmp_path / "x.lock") as is_held:
        assert is_held is False
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with file_lock(tmp_path / "x.lock") as is_held:
        assert is_held is True


def test_it_waits(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "x.lock", ready, False))
    process.start()
    assert ready.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    with file_lock(tmp_path / "x.lock", wait=True) as is_held:
        assert is_held is True
    process.join()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_a_disk_without_locks(tmp_path, monkeypatch, number):
    def no_locks(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", no_locks)
    for _ in range(2):
        with file_lock(tmp_path / "x.lock") as is_held:
            assert is_held is None
    with occupied(tmp_path):
        assert not is_occupied(tmp_path)


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: cannot be written"), occupied(tmp_path / "file"):
        pass
    assert not is_occupied(tmp_path / "file") and not is_occupied(tmp_path / "none")
    assert not is_occupied(tmp_path) and not (tmp_path / ".lock").exists()
