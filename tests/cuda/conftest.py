"""What tests that run on a real GPU and on the pretend one have in common."""

from types import SimpleNamespace

import pytest
import torch
from helpers.pretend import IS_PRETEND
from helpers.pretend_tensor import gpu

from liif.models.kernels import fused
from liif.training import graph


@pytest.fixture
def device():
    """The GPU."""
    return torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _as_new(request, monkeypatch):
    """Restore what a test has changed of the pretend device. Its kernel is Triton's interpreter,
    which is slow: only tests with the fixture `kernel` have it."""
    if not IS_PRETEND:
        yield
        return
    if "kernel" not in request.fixturenames:
        monkeypatch.setattr(fused, "candidates", lambda *_: ())
    fused._fastest.cache_clear()
    # A graph calls the step again.
    monkeypatch.setattr(graph, "record_graph", lambda body, _: SimpleNamespace(replay=body))
    yield
    gpu.reset()
    fused._fastest.cache_clear()
