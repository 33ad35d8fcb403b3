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


def progress_bar(
    items: Iterable[T] = (),
    *,
    total: float | None,
    unit: str,
    **options: Any,  # noqa: ANN401
) -> "tqdm[T]":
    """Return a progress bar, which shows nothing where `shows_progress` is false.

    Args:
        items: items to iterate over; without them, call `update`.
        total: number of units, None if unknown.
        unit: name of a unit, e.g. "image".
        options: further options of tqdm.
    """
    return tqdm(
        items, total=total, unit=unit, dynamic_ncols=True, disable=not shows_progress(), **options
    )
