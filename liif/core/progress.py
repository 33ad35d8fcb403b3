"""Progress bars, shown on terminals only."""

from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

from liif.core.environment import shows_progress

T = TypeVar("T")


def progress_bar(items: Iterable[T] = (), *, unit: str, **options: Any) -> "tqdm[T]":  # noqa: ANN401
    """Return a progress bar over items (without items, call `update`), counted in `unit`, e.g.
    "image", with further options of tqdm; it is hidden where `shows_progress` is false."""
    return tqdm(items, unit=unit, dynamic_ncols=True, disable=not shows_progress(), **options)
