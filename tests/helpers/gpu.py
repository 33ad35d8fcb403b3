"""What tests on a GPU count and limit, the same way on a real one and on the pretend one."""

import gc
import warnings
from contextlib import contextmanager

import torch

from helpers.pretend import IS_PRETEND
from helpers.pretend_tensor import gpu


@contextmanager
def count_waits():
    """Yield a list that in the end holds each time that the host waited for the device."""
    waits = []
    if IS_PRETEND:
        gpu.waits.clear()
        yield waits
        waits += gpu.waits
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield waits
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for each in caught:
        if "synchronizing CUDA operation" in str(each.message):
            waits.append(f"{each.filename}:{each.lineno}")


@contextmanager
def limit_memory(most):
    """Let no more than `most` bytes be allocated in addition to those in use."""
    gc.collect()
    torch.cuda.empty_cache()
    if IS_PRETEND:
        gpu.limit = gpu.allocated + most
    else:
        total = torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + most) / total)
    try:
        yield
    finally:
        if IS_PRETEND:
            gpu.limit = gpu.total
        else:
            torch.cuda.set_per_process_memory_fraction(1.0)


EXACT = 1e-4 if IS_PRETEND else 2e-3
"""Largest difference of two computations in float32, in standard deviations of the result."""


def assert_alike(found, expected, *, scale=None, limit=None):
    """Assert that what a GPU computed is what a CPU did, compared with the deviation of the values,
    or with `scale`: those of untrained models hardly differ from one another."""
    found, expected = found.detach().cpu().double(), expected.detach().double()
    assert found.shape == expected.shape
    unit = float(expected.std()) if scale is None else scale
    error = float((found - expected).abs().max()) / unit
    assert error <= (limit or EXACT), f"differs by {error:.2g}"
