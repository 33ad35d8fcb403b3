"""Work on several cores: every item, errors, and what it leaves of PyTorch's threads."""

import os
import subprocess
import sys
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from time import sleep

import pytest
import torch

from liif.core.parallel import _start_workers, background_map, parallel_for


@pytest.fixture
def three_threads():
    _start_workers.cache_clear()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_every_item_is_worked_on_once(three_threads, count):
    done = []
    parallel_for(done.append, iter(range(count)))
    assert sorted(done) == list(range(count))
    assert torch.get_num_threads() == 3


def test_each_worker_uses_one_thread_of_pytorch(three_threads):
    seen = []

    def work(_):
        torch.ones(2**20).add(1)  # large enough for PyTorch to divide it among threads
        seen.append(torch.get_num_threads())

    parallel_for(work, range(20))
    assert set(seen) == {1}


def test_a_thread_that_begins_meanwhile_keeps_all_threads(three_threads):
    found = []
    decoded = Event()

    def stranger():
        found.append(torch.get_num_threads())
        decoded.wait(60)
        found.append(torch.get_num_threads())

    threads = [Thread(target=stranger) for _ in range(4)]

    def work(item):
        threads[item].start()
        while len(found) <= item:
            sleep(0.001)

    try:
        parallel_for(work, range(4))
    finally:
        decoded.set()
    for thread in threads:
        thread.join()
    assert found == [3] * 8


def test_an_error_is_raised_and_the_threads_are_restored(three_threads):
    with pytest.raises(ZeroDivisionError):
        parallel_for(lambda item: 1 // item, [3, 2, 1, 0, 1, 2])
    assert torch.get_num_threads() == 3


def test_an_error_cancels_the_items_that_have_not_begun(three_threads):
    begun = []

    def work(item):
        begun.append(item)
        sleep(0.01)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        parallel_for(work, range(1000))
    count = len(begun)
    assert count < 100
    parallel_for(begun.append, range(50))  # the workers remain usable
    assert len(begun) == count + 50


def test_nested_calls_work_on_every_item(three_threads):
    done = []
    parallel_for(lambda _: parallel_for(done.append, range(5)), range(7))
    assert sorted(done) == sorted([*range(5)] * 7)


def test_only_the_first_call_changes_the_number_of_threads_of_the_process(
    three_threads, monkeypatch
):
    parallel_for(str, range(9))
    threads = set(enumerate_threads())

    def refuse(number):
        raise AssertionError(number)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "set_num_threads", refuse)
        for _ in range(5):
            parallel_for(str, range(9))
    assert set(enumerate_threads()) <= threads  # those of earlier tests may end meanwhile


def test_a_thread_that_cannot_be_started_leaves_the_work_to_the_calling_thread(
    three_threads, monkeypatch
):
    start, started, done = Thread.start, [], []

    def fail_at_the_third(thread):
        started.append(thread)
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", fail_at_the_third)
        parallel_for(done.append, range(6))
    assert done == [*range(6)]
    assert torch.get_num_threads() == 3
    assert not any(thread.is_alive() for thread in started)
    parallel_for(done.append, range(6))  # the next call tries again
    assert sorted(done) == sorted([*range(6)] * 2)


def test_background_work_keeps_the_order_and_a_bounded_number_of_items(three_threads):
    made, done, most = [], [], 0

    def items():
        for i in range(12):
            made.append(i)
            yield i

    def work(i):
        sleep(0.01 * (i % 3))
        return i * i

    for result in background_map(work, items()):
        done.append(result)
        most = max(most, len(made) - len(done))
    assert done == [i * i for i in range(12)]
    assert most == 2  # of those that are not given back yet


def test_background_work_runs_while_the_next_item_is_made(three_threads):
    begun = Event()

    def items():
        yield 0
        assert begun.wait(60)  # in vain, if the caller had to do the work
        yield 1

    assert list(background_map(lambda i: begun.set() or i, items())) == [0, 1]


@pytest.mark.parametrize("threads", [1, 3])
def test_results_before_an_interruption_are_not_lost(three_threads, threads):
    torch.set_num_threads(threads)

    def items():
        yield from range(3)
        raise KeyboardInterrupt

    found = background_map(lambda i: sleep(0.01) or i, items())
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyboardInterrupt):
        next(found)
    assert list(background_map(str, [])) == [] and list(background_map(str, [5])) == ["5"]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_background_work_comes_in_its_place(three_threads, threads):
    torch.set_num_threads(threads)
    found = background_map(lambda i: 1 // i, [1, 1, 0, 1])
    assert [next(found), next(found)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert list(found) == []


def test_closing_waits_for_the_background_work_that_has_begun(three_threads):
    begun, ended = [], []

    def work(i):
        begun.append(i)
        sleep(0.05)
        ended.append(i)

    found = background_map(work, range(1000))
    next(found)
    found.close()
    assert begun and sorted(begun) == sorted(ended)


FORK = """
import os, torch
from liif.core.parallel import parallel_for

torch.set_num_threads(3)
done = []
parallel_for(done.append, range(9))
child = os.fork()
parallel_for(done.append, range(9))
assert sorted(done) == sorted([*range(9)] * 2)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_has_workers_of_its_own_and_both_processes_exit():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=200)
