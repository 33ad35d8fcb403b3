"""Checkpoints of the official LMF code (HeZongyao/LMF): LM-LIIF and LM-LTE."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from liif.models.foreign.encoders import encoder_config, is_unused

SWITCHES = ("local_ensemble", "feat_unfold", "cell_decode", "mod_input")


def from_lmf(
    name: str, args: Mapping[str, Any], weights: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of a model "lmliif" or "lmlte". Raises ValueError for parts
    of the model that are switched off."""
    encoder, _ = encoder_config(args["encoder_spec"])
    imnet, hypernet = args["imnet_spec"]["args"], args["hypernet_spec"]["args"]
    switches = {key: args.get(key, True) for key in SWITCHES}
    switches |= {key: imnet.get(key, True) for key in ("mod_scale", "mod_shift")}
    if off := [key for key, value in switches.items() if not value]:
        raise ValueError(f"{off[0]}: false is not supported for the model {name!r}")
    decoder = {"name": "lm-liif" if name == "lmliif" else "lm-lte"}
    decoder |= {"width": imnet["hidden_dim"], "depth": imnet["hidden_depth"]}
    decoder |= {"hidden": list(hypernet["hidden_list"])}
    if name == "lmlte":
        decoder["waves"] = args.get("hidden_dim", 128) // 2
    found = {
        key if key.startswith("encoder.") else f"decoder.{key}": value
        for key, value in weights.items()
        if not is_unused(key)
    }
    return {"encoder": encoder, "decoder": decoder}, found
