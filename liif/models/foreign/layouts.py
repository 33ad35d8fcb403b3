"""Where a checkpoint of other code keeps the weights, and what it writes before their names.

    {"model": {"name", "args", "sd"}}             the official LIIF code, and code derived from it
    {"state_dict": {"generator.…"}, …}            mmagic, Lightning and others
    {"params_ema": {…}, "params": {…}}            BasicSR
    {"encoder.…", "imnet.…"}                      a state dict alone

The names of a model's tensors begin with one of ROOTS; what is before it is where they were found,
and the names of wrappers (DataParallel, torch.compile, an average of weights).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from liif.models.foreign.arrays import Array
from liif.models.unpickler import Foreign, is_entered

Weights = dict[str, Tensor]

ROOTS = {
    *("encoder", "decoder", "imnet", "layers", "coef", "freq", "phase", "imphase", "hypernet"),
    *("conv00", "conv0", "conv1", "fc1", "fc2", "fc_layers", "Score", "Weight", "imnets"),
    *("pb_encoder", "srnet", "adapt_R", "adapt_G", "adapt_B"),
    *("imnet_q", "imnet_k", "imnet_v", "cs_attn", "conv_first", "body", "conv_after_body"),
    *("sfe1", "sfe2", "rdbs", "gff"),
}
"""First parts of the names of the tensors of all models that are known."""
_WRAPPERS = ("module", "_orig_mod")
"""What DataParallel and torch.compile write into names, at any place."""
_BESIDE = re.compile(
    r"(.*_)?(loss|criterion|discriminator|metrics?|ema_updater)s?|net_d|vgg|lpips|psnr|ssim"
    r"|data_preprocessor|step_counter|n_averaged"
)
"""Names beside a model of what is no part of it."""
_DEEPEST = 5


class Found(NamedTuple):
    """The weights of a checkpoint."""

    weights: Weights
    """By the names that the model gives them."""
    prefix: str
    """What was before the names, e.g. "state_dict.generator"."""
    written: frozenset[str]
    """What is written into the names, before them or by wrappers, e.g. "module."."""
    all_prefixes: tuple[str, ...]
    """The prefixes of all models in the file; an average of weights is preferred."""


def find_weights(content: Mapping[Any, Any]) -> Found:
    """Return the weights of a model in nested mappings, or nothing if there are none. Raises
    ValueError if there are two of one name."""
    groups: dict[str, Weights] = {}
    written: dict[str, set[str]] = {}
    others: list[tuple[str, Tensor]] = []
    for path, tensor in _tensors(content, (), set()):
        parts = [part for part in ".".join(path).split(".") if part and part not in _WRAPPERS]
        root = next((i for i, part in enumerate(parts) if part in ROOTS), None)
        if root is None:
            others.append((".".join(parts), tensor))
            continue
        prefix, name = ".".join(parts[:root]), ".".join(parts[root:])
        group = groups.setdefault(prefix, {})
        more = {part for part in path[-1].split(".") if part in (*_WRAPPERS, *parts[:root])}
        written.setdefault(prefix, set()).update(f"{part}." for part in more)
        if name in group:
            raise ValueError(f"two of its tensors are named {name[:100]}")
        group[name] = tensor
    groups = {
        prefix: weights
        for prefix, weights in groups.items()
        if not any(map(_BESIDE.fullmatch, prefix.split(".")))
    }
    if not groups:
        return Found({}, "", frozenset(), ())
    chosen = max(groups, key=lambda prefix: (len(groups[prefix]), "ema" in prefix.lower()))
    most = len(groups[chosen])
    models = tuple(prefix for prefix in groups if len(groups[prefix]) == most)
    weights, begin = groups[chosen], f"{chosen}." if chosen else ""
    for name, tensor in others:  # layers of a fork that have other names belong to the model
        rest = name.removeprefix(begin)
        if name.startswith(begin) and not _BESIDE.fullmatch(rest.partition(".")[0]):
            weights[rest] = tensor
    return Found(weights, chosen, frozenset(written[chosen]), models)


def _tensors(
    value: Mapping[Any, Any], path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Yield the tensors of nested mappings with the keys that lead to them; not those of optimizers
    and the like, whose keys are numbers, and of whole modules, whose code is not there."""
    for key, item in value.items():
        if not isinstance(key, str):
            continue
        if isinstance(item, Array) and item.tensor is not None:
            yield (*path, key), item.tensor
        elif isinstance(item, Tensor):
            yield (*path, key), item
        elif isinstance(item, Foreign) and item.is_module:
            continue
        elif len(path) < _DEEPEST and is_entered(item, seen):
            assert isinstance(item, Mapping)
            yield from _tensors(item, (*path, key), seen)


def find_arguments(content: Mapping[Any, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Return the name and the arguments of a model that are in a file beside its weights, e.g. as
    hyper-parameters: a mapping with an encoder; the name is empty if it is not there."""
    left, seen = [(content, 0)], set[int]()
    while left:
        value, depth = left.pop(0)
        args = value.get("args")
        if isinstance(args, Mapping) and _has_encoder(args) and isinstance(value.get("name"), str):
            return value["name"], args
        if _has_encoder(value):
            return "", value
        if depth < _DEEPEST:
            left += [(item, depth + 1) for item in value.values() if is_entered(item, seen)]
    return None


def _has_encoder(args: Mapping[Any, Any]) -> bool:
    return isinstance(args.get("encoder_spec", args.get("srnet_spec")), Mapping)
