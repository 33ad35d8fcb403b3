"""Checkpoints of the official LMF code (HeZongyao/LMF): LM-LIIF and LM-LTE."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from liif.models.foreign.encoders import encoder_config, is_unused
from liif.models.foreign.switches import check_switches, hidden_of, part

PARTS = {"local_ensemble": True, "feat_unfold": True, "cell_decode": True, "mod_input": True}
MODULATED = {"mod_scale": True, "mod_shift": True}
"""Switches of the model and of its narrow network that must be on."""


def from_lmf(
    name: str, args: Mapping[str, Any], weights: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of a model "lmliif" or "lmlte". Raises ValueError for
    switches that are not known, and for parts of the model that are switched off."""
    check_switches(name, args, {"encoder_spec", "imnet_spec", "hypernet_spec", "hidden_dim"}, PARTS)
    network, imnet = part(name, args["imnet_spec"])
    if network not in ("lmmlp", ""):
        raise ValueError(f"its network {network!r} is not supported for the model {name!r}")
    check_switches(name, imnet, {"out_dim", "hidden_dim", "hidden_depth"}, MODULATED)
    encoder, _ = encoder_config(args["encoder_spec"])
    decoder = {"name": "lm-liif" if name == "lmliif" else "lm-lte"}
    decoder |= {"width": imnet["hidden_dim"], "depth": imnet["hidden_depth"]}
    decoder |= {"hidden": hidden_of(name, args["hypernet_spec"], "relu", default="relu")}
    if name == "lmlte":
        decoder["waves"] = args.get("hidden_dim", 128) // 2
    found = {
        key if key.startswith("encoder.") else f"decoder.{key}": value
        for key, value in weights.items()
        if not is_unused(key)
    }
    return {"encoder": encoder, "decoder": decoder}, found
