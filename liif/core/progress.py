"""Progress bars, shown on terminals only."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

from liif.core.environment import rank_of_environment

T = TypeVar("T")


def shows_progress() -> bool:
    """Whether standard error is a terminal, in the one process that speaks to the user."""
    return sys.stderr.isatty() and rank_of_environment() == 0


def progress_bar(
    items: Iterable[T] = (),
    *,
    total: float | None,
    unit: str,
    **options: Any,  # noqa: ANN401
) -> "tqdm[T]":
    """A bar over `items`, or one to be updated by hand; silent where `shows_progress` is false.

    Args:
        items: what to iterate over, if anything.
        total: how many units there are, as far as is known.
        unit: what is counted, e.g. "image".
        options: further ones of tqdm.
    """
    return tqdm(
        items, total=total, unit=unit, dynamic_ncols=True, disable=not shows_progress(), **options
    )
