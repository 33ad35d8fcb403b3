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


def hidden_of(name: str, spec: Mapping[str, Any], activation: str, default: str) -> list[int]:
    """Return the widths of the hidden layers of an MLP {"name", "args"} of the model `name`. Raises
    ValueError if it is another network or has another activation; `default` is the one that the
    original code takes if none is given."""
    if spec["name"] != "mlp":
        raise ValueError(f"its network {spec['name']!r} is not supported for the model {name!r}")
    args: dict[str, Any] = {"act": default, **spec["args"]}
    check_switches(name, args, {"in_dim", "out_dim", "hidden_list"}, {"act": activation})
    return list(args["hidden_list"])
