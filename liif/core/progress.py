"""Progress bars, shown on terminals only."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

from liif.core.environment import rank_of_environment

T = TypeVar("T")


def shows_progress() -> bool:
    """Return whether standard error is a terminal and this process has rank 0."""
    return sys.stderr.isatty() and rank_of_environment() == 0


def progress_bar(items: Iterable[T] = (), *, unit: str, **options: Any) -> "tqdm[T]":  # noqa: ANN401
    """Return a progress bar over items (without items, call `update`), counted in `unit`, e.g.
    "image", with further options of tqdm; it is hidden where `shows_progress` is false."""
    return tqdm(items, unit=unit, dynamic_ncols=True, disable=not shows_progress(), **options)
