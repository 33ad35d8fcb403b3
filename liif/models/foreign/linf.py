"""Checkpoints of the official LINF code (JNNNNYao/LINF), of its model for single pixels."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from liif.models.foreign.encoders import encoder_config, is_unused
from liif.models.foreign.switches import check_switches, part


def from_linf(
    name: str, args: Mapping[str, Any], weights: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of a model "linf". Raises ValueError for switches that are
    not known."""
    check_switches(
        name, args, {"encoder_spec", "imnet_spec", "flow_layers", "num_layer", "hidden_dim"}
    )
    network, flow = part(name, args["imnet_spec"])
    check_switches(name, {"name": network, **flow}, set(), {"name": "flow"})
    encoder, _ = encoder_config(args["encoder_spec"])
    width, steps = args.get("hidden_dim", 256), args.get("flow_layers", 10)
    decoder = {"name": "linf", "hidden": [width] * args.get("num_layer", 3)}
    decoder |= {"waves": width // 2, "steps": steps}
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        if is_unused(key):
            continue
        if key.startswith("freq."):
            # Its frequencies are all along y, then all along x; ours are pairs.
            value = torch.stack(value.chunk(2), dim=1).flatten(0, 1)
        if key.startswith("layers."):
            key, value = f"mlp.{key}", value.flatten(1) if value.dim() == 4 else value
        key = key.replace("imnet.linears.", "flow.").replace("imnet.last.", f"flow.{steps}.")
        key = key.replace("._weight", ".weight")
        found[key if key.startswith("encoder.") else f"decoder.{key}"] = value
    return {"encoder": encoder, "decoder": decoder}, found
