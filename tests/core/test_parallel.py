"""Work on several cores: every item, errors, and what it leaves of PyTorch's threads."""

from threading import Event, Thread
from time import sleep

import pytest
import torch

from liif.core.parallel import parallel_for


@pytest.fixture
def three_threads():
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
