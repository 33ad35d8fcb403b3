"""Checkpoints of CiaoSR (caojiezhang/CiaoSR) with the encoder EDSR, whose names are those of its
framework."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from liif.models.foreign.encoders import encoder_config
from liif.models.foreign.switches import check_switches

ONLY = {
    "local_size": 2,
    "feat_unfold": True,
    "non_local_attn": True,
    "multi_scale": [2],
    "softmax_scale": 1,
}
"""The only supported value of each switch."""


def from_ciaosr(
    name: str, args: Mapping[str, Any], weights: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of a model "ciaosr". Raises ValueError for other switches
    and for other encoders."""
    check_switches(name, args, {"encoder_spec", "hidden_list"}, ONLY)
    encoder, _ = encoder_config(args["encoder_spec"])
    if encoder["name"] != "edsr-baseline":
        raise ValueError(f"the model {name!r} is read with the encoder EDSR only")
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        key = key.removeprefix("generator.")
        if key == "cs_attn.escape_NaN":  # a constant
            continue
        if not key.startswith(("imnet_", "cs_attn.")):
            key = re.sub(r"conv([12])\.", lambda m: f"body.{2 * int(m[1]) - 2}.", key)
            key = key.replace("conv_first.", "head.0.")
            key = key.replace("conv_after_body.", f"body.{encoder['blocks']}.")
            key = f"encoder.{key}"
        found[key if key.startswith("encoder.") else f"decoder.{key}"] = value
    decoder = {"name": "ciaosr", "hidden": list(args.get("hidden_list", [256] * 4))}
    normalization = {"mean": [0.4488, 0.4371, 0.4040], "std": 1.0}
    return {"encoder": encoder, "decoder": decoder, "normalization": normalization}, found
