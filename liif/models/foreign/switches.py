"""Switches of other code's models: known or refused by name, never ignored.

Every mapping of a model's description goes through `check_switches`: the arguments of the model, of
its encoder and of its networks, and the mappings that hold them.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from liif.models.unpickler import Foreign, is_entered

SHAPELESS = {"local_ensemble"}
"""Arguments of models that no shape of a weight tells."""
TRAINING = ("optim", "lr_sched", "sched", "callback", "loop", "loss", "discriminator")
"""Beginnings of the names of what is no hyper-parameter of a model."""
READ = {*SHAPELESS, "feat_unfold", "cell_decode", "res_scale"}
"""Hyper-parameters of a training that are used if the file describes its model in no other way."""
PLAIN: Mapping[str, tuple[Any, ...]] = {
    "act": ("relu", "ReLU", None),
    "activation": ("relu", "ReLU", None),
    "siren": (False, None),
    "use_siren": (False, None),
    "norm": (None, False, "none"),
    "norm_layer": (None, False, "none"),
    "bn": (False, None),
    "batch_norm": (False, None),
    "residual": (False, None),
    "skip": (False, None),
    "posenc": (None, False),
    "pos_enc": (None, False),
    "imnet_type": ("mlp", None),
}
"""Hyper-parameters that change a model without changing a shape, and the supported values."""


def check_switches(
    name: str, args: Mapping[str, Any], known: set[str], only: Mapping[str, Any] | None = None
) -> None:
    """Check the arguments of the model `name`: all are `known` or in `only`, which holds the only
    supported value of each. Raises ValueError with the name of the first that is not."""
    only = only or {}
    for key, value in args.items():
        if key in only and not _equal(value, only[key]):
            raise ValueError(f"{key}: {_shown(value)} is not supported for the model {name!r}")
        if key not in known and key not in only:
            raise ValueError(f"{key}: {_shown(value)} is an unknown switch of the model {name!r}")


def _equal(value: object, wanted: object) -> bool:
    """Compare with 1 and 0 as other values than True and False."""
    value = list(value) if isinstance(value, tuple) else value
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _shown(value: object) -> str:
    return value.kind if isinstance(value, Foreign) else repr(value)


def part(name: str, spec: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of a part {"name", "args"} of the model `name`. Raises
    ValueError if it states anything else."""
    check_switches(name, spec, {"name", "args"}, {"sd": None})
    return spec.get("name", ""), dict(spec.get("args") or {})


def hidden_of(name: str, spec: Mapping[str, Any], activation: str, default: str) -> list[int]:
    """Return the widths of the hidden layers of an MLP {"name", "args"} of the model `name`. Raises
    ValueError if it is another network or has another activation; `default` is the one that the
    original code takes if none is given."""
    network, args = part(name, spec)
    if network != "mlp":
        raise ValueError(f"its network {network!r} is not supported for the model {name!r}")
    with_default: dict[str, Any] = {"act": default, **args}
    check_switches(name, with_default, {"in_dim", "out_dim", "hidden_list"}, {"act": activation})
    return list(args["hidden_list"])


def hyper_parameters(name: str, content: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the switches in READ that a file has among its hyper-parameters, beside the weights of
    the model `name`. Raises ValueError for a value that is not in PLAIN."""
    found: dict[str, Any] = {}
    left, seen = [(content, 0)], set[int]()
    while left:
        values, depth = left.pop()
        for key, value in values.items():
            if isinstance(value, Tensor) or str(key)[:80].startswith(TRAINING):
                continue
            if isinstance(value, Mapping):
                left += [(value, depth + 1)] if depth < 4 and is_entered(value, seen) else []
            elif key in READ:
                found[key] = value
            elif isinstance(key, str) and key in PLAIN and value not in PLAIN[key]:
                text = f"{key}: {_shown(value)} is not supported for the model {name!r}"
                raise ValueError(text)
    return found
