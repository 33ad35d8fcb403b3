"""The process group: left in order after success, and at once after an error."""

import pytest
import torch
import torch.distributed as dist

from liif.core.distributed import TIMEOUT, joined
from liif.core.errors import UserError


class Store:
    def __init__(self, *_):
        self.count = 0

    def add(self, key, amount):
        self.count += amount
        return self.count


@pytest.fixture
def destroyed(monkeypatch):
    """A group of two processes without the other one; lists the calls that destroy it."""
    calls, started = [], {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(dist, "rendezvous", lambda url: iter([(Store(), 0, 2)]))
    monkeypatch.setattr(dist, "PrefixStore", lambda prefix, store: store)
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **options: started.update(options))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.append(started["timeout"]))
    return calls


def test_after_success_the_group_is_destroyed(destroyed):
    with joined(torch.device("cpu")) as team:
        assert (team.rank, team.size) == (0, 2)
    assert destroyed == [TIMEOUT] and TIMEOUT.total_seconds() <= 2 * 3600


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (UserError("wrong"), UserError),
        (RuntimeError("Connection closed by peer"), UserError),
        (RuntimeError("a fault"), RuntimeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_after_an_error_no_process_waits_for_its_peers(destroyed, error, raised):
    with pytest.raises(raised), joined(torch.device("cpu")):
        raise error
    assert destroyed == []
