"""Checkpoints of the official CLIT code (jaroslaw1007/CLIT), of one to three stages."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from liif.models.foreign.encoders import encoder_config, split_weights
from liif.models.foreign.switches import check_switches, hidden_of, part

KNOWN = {"encoder_spec", "imnet_spec", "imnet_num", "conv_num", "pb_spec", "base_dim", "head", "r",
         "verbose"}  # fmt: skip
POSITION = {"posenc_type": "sinusoid", "posenc_scale": 10, "complex_transform": False, "in_dims": 2}
"""The only supported encoding of positions."""


def from_clit(
    name: str, args: Mapping[str, Any], weights: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of a model "clit". Raises ValueError for switches that are
    not known, and for parts of the model that are switched off."""
    check_switches(name, args, KNOWN, {"is_cell": True, "local_attn": True})
    stages = args.get("imnet_num", 1)
    if args.get("conv_num", 1) != stages:
        raise ValueError(f"conv_num: {args.get('conv_num', 1)} differs from imnet_num: {stages}")
    _, pb = part(name, args.get("pb_spec") or {})
    position: dict[str, Any] = {"posenc_type": None, "posenc_scale": 6, **pb}
    check_switches(name, position, {"enc_dims", "hidden_dims", "gamma", "gauss_scale"}, POSITION)
    encoder, _ = encoder_config(args["encoder_spec"])
    decoder = {"name": "clit", "width": args.get("base_dim", 192), "heads": args.get("head", 8)}
    decoder |= {"reach": args.get("r", 3), "waves": position.get("enc_dims", 256) // 4}
    decoder |= {"hidden": hidden_of(name, args["imnet_spec"], "gelu", default="relu")}
    found, others = split_weights(weights)
    for key, value in others.items():
        key = re.sub(r"^(imnets\.\d+)\.layers\.", r"\1.", key)
        found["decoder." + key.replace("pb_encoder.proj.", "position.")] = value
    return {"encoder": encoder, "decoder": {**decoder, "stages": stages}}, found
