"""Read the ranks that torchrun sets in the environment, without importing PyTorch."""

import os


def rank_of_environment() -> int:
    """Return this process's rank in a run of torchrun; 0 without torchrun."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int:
    """Return this process's number on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))
