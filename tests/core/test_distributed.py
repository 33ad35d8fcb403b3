"""The process group: left in order after success, and at once after an error."""

import re

import pytest
import torch
import torch.distributed as dist

from liif.core.distributed import TIMEOUT, is_exchange_failure, is_peer_lost, joined
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


NCCL_ERROR = "NCCL error in: NCCLUtils.cpp:77, {}, NCCL version 2.26.2\n{}: {}\nLast error:\n{}"
SYSTEM_CALL = "System call (e.g. socket, malloc) or external library call failed or device error. "
SYSTEM_CALL += "It can be also caused by unexpected exit of a remote peer."
"""What PyTorch says of every failed call to the system."""


@pytest.mark.parametrize(
    ("kind", "explanation", "cause", "is_lost"),
    [
        ("ncclRemoteError", "A call failed", "socketPollConnect: Connection refused", True),
        ("ncclSystemError", SYSTEM_CALL, "Connection closed by remote peer a<51159>", True),
        ("ncclInternalError", "Internal check failed.", "recv timed out", True),
        ("ncclSystemError", SYSTEM_CALL, "Error while creating shared memory segment", False),
        ("ncclUnhandledCudaError", "Call failed.", "Cuda failure 2 'out of memory'", False),
        ("ncclUnhandledCudaError", "Call failed.", "peer access is not supported", False),
        ("ncclInvalidUsage", "This usually reflects", "Duplicate GPU detected : rank 0", False),
    ],
)
def test_nccl_fails_for_many_reasons(destroyed, kind, explanation, cause, is_lost):
    error = dist.DistBackendError(NCCL_ERROR.format("failed", kind, explanation, cause))
    assert is_peer_lost(error) == is_lost and is_exchange_failure(error)
    said = "lost its peers" if is_lost else f"NCCL.* fails: {re.escape(cause)}; .*NCCL_DEBUG"
    with pytest.raises(UserError, match=said), joined(torch.device("cpu")):
        raise error


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer"), True),
        (dist.DistStoreError("wait timeout after 300000ms, keys: /0/x"), True),
        (RuntimeError("NCCL communicator was aborted on rank 0."), True),
        (RuntimeError("ProcessGroupNCCL is only supported with GPUs, no GPUs found!"), False),
        (torch.OutOfMemoryError("CUDA out of memory; see the peer's connection"), False),
        (ValueError("connection"), False),
    ],
)
def test_a_lost_peer(error, is_lost):
    assert is_peer_lost(error) == is_lost
    assert is_exchange_failure(error) == (is_lost or "NCCL" in str(error))
