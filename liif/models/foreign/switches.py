"""Switches of other code's models that this package does not know: refused, never ignored."""

from collections.abc import Mapping
from typing import Any


def check_switches(
    name: str, args: Mapping[str, Any], known: set[str], only: Mapping[str, Any] | None = None
) -> None:
    """Check the arguments of the model `name`: all are `known` or in `only`, which holds the only
    supported value of each. Raises ValueError with the name of the first that is not."""
    only = only or {}
    for key, value in args.items():
        if key in only and value != only[key]:
            raise ValueError(f"{key}: {value!r} is not supported for the model {name!r}")
        if key not in known and key not in only:
            raise ValueError(f"{key}: {value!r} is an unknown switch of the model {name!r}")
