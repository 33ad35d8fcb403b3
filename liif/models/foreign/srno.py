"""Checkpoints of the official SRNO code (2y7c3/Super-Resolution-Neural-Operator)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from liif.models.foreign.encoders import encoder_config, split_weights
from liif.models.foreign.switches import check_switches


def from_srno(
    name: str, args: Mapping[str, Any], weights: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of a model "sronet". Raises ValueError for switches that are
    not known."""
    check_switches(name, args, {"encoder_spec", "width", "blocks"})
    encoder, _ = encoder_config(args["encoder_spec"])
    decoder = {"name": "srno", "width": args.get("width", 256), "heads": args.get("blocks", 16)}
    found, others = split_weights(weights)
    for key, value in others.items():
        found[f"decoder.{key}"] = value.flatten(1) if value.dim() == 4 else value
    return {"encoder": encoder, "decoder": decoder}, found
