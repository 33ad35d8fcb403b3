"""Checkpoints of the official OPE-SR code (gaochao-s/ope-sr): "OPE-net", whose encoder gives the
coefficients, and "OPE-net-adapt", with a convolution for each colour."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from liif.models.foreign.encoders import encoder_config, is_unused
from liif.models.foreign.switches import check_switches

COLOURS = ("adapt_R", "adapt_G", "adapt_B")


def from_ope(
    name: str, args: Mapping[str, Any], weights: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of a model "OPE-net" or "OPE-net-adapt". Raises ValueError
    for switches that are not known."""
    check_switches(name, args, {"max_freq", "srnet_spec"})
    encoder, _ = encoder_config(args["srnet_spec"])
    has_adapt = name == "OPE-net-adapt"
    decoder = {"name": "ope", "waves": args["max_freq"], "adapt": has_adapt}
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        key = key.replace("srnet.", "encoder.", 1)
        if not is_unused(key) and not key.startswith(COLOURS):
            found[key] = value
    if has_adapt:
        for part in ("weight", "bias"):
            each = [weights[f"{colour}.{part}"] for colour in COLOURS]
            found[f"decoder.coef.{part}"] = torch.cat(each)
    return {"encoder": encoder, "decoder": decoder}, found
