"""What the environment says of this process: the ranks that torchrun sets, and the terminal."""

import logging
import os
import sys


def rank_of_environment() -> int:
    """Return this process's rank in a run of torchrun; 0 without torchrun."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int:
    """Return this process's number on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))


def shows_progress() -> bool:
    """Return whether standard error is a terminal, this process has rank 0, and it is to print more
    than warnings: `--quiet` sets the level of the handlers of the log."""
    is_quiet = any(each.level > logging.INFO for each in logging.getLogger("liif").handlers)
    return sys.stderr.isatty() and rank_of_environment() == 0 and not is_quiet
