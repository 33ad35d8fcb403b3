"""Checkpoints of the official LTE code (jaewon-lee-b/lte): LTE and LTE+."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from liif.models.foreign.encoders import encoder_config, is_unused
from liif.models.foreign.switches import check_switches, hidden_of


def from_lte(
    name: str, args: Mapping[str, Any], weights: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of a model "lte" or "lte-fast" (LTE+). Raises ValueError for
    switches that are not known."""
    known = {"encoder_spec", "imnet_spec", "hidden_dim", "num_layer"}
    check_switches(name, args, known, {"out_dim": 3})
    encoder, _ = encoder_config(args["encoder_spec"])
    width, is_plus = args.get("hidden_dim", 256), name == "lte-fast"
    if is_plus:
        hidden = [width] * args.get("num_layer", 3)
    else:
        hidden = hidden_of(name, args["imnet_spec"], "relu", default="relu")
    decoder = {"name": "lte", "hidden": hidden, "waves": width // 2}
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        if is_unused(key):
            continue
        if is_plus and key.startswith("freq."):
            # Its frequencies are all along y, then all along x; LTE's are pairs.
            value = torch.stack(value.chunk(2), dim=1).flatten(0, 1)
        if key.startswith(("imnet.layers.", "layers.")):
            key = "mlp." + key.removeprefix("imnet.")
            value = value.flatten(1) if value.dim() == 4 else value  # 1×1 convolutions
        found[key if key.startswith("encoder.") else f"decoder.{key}"] = value
    return {"encoder": encoder, "decoder": decoder}, found
