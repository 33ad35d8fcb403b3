"""Memory that runs out, which PyTorch, CUDA's libraries and NCCL report in different ways."""

import re

import torch

EXHAUSTED = re.compile("out of memory|ALLOC_FAILED|allocate memory", re.IGNORECASE)
"""Matches the errors of CUDA, cuBLAS, cuDNN and NCCL, and those of PyTorch's allocator on a CPU."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on the host or on a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and EXHAUSTED.search(str(error)) is not None
