"""What the environment says of this process: the ranks that torchrun sets, and the terminal."""

import os
import sys


def rank_of_environment() -> int:
    """Return this process's rank in a run of torchrun; 0 without torchrun."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int:
    """Return this process's number on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))


def shows_progress() -> bool:
    """Return whether standard error is a terminal and this process has rank 0."""
    return sys.stderr.isatty() and rank_of_environment() == 0
