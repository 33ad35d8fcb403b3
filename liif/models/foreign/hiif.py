"""Checkpoints of HIIF in the public port to plain PyTorch, whose names are those of the original
(tayyabnasir22/INR-ASSR-Emperical-Analysis)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from liif.models.foreign.encoders import encoder_config, split_weights
from liif.models.foreign.switches import check_switches


def from_hiif(
    name: str, args: Mapping[str, Any], weights: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of a model "hiif". Raises ValueError for switches that are
    not known."""
    check_switches(name, args, {"encoder_spec", "blocks", "hidden_dim"})
    encoder, _ = encoder_config(args["encoder_spec"])
    decoder = {"name": "hiif", "width": args.get("hidden_dim", 256), "margin": 0.0}
    decoder["heads"] = args.get("blocks", 16)
    found, others = split_weights(weights)
    for key, value in others.items():
        value = value.flatten(1) if ".proj" in key and value.dim() == 4 else value
        found[f"decoder.{key.replace('.proj', '.o_proj')}"] = value
    return {"encoder": encoder, "decoder": decoder}, found
