"""Checkpoints of CiaoSR (caojiezhang/CiaoSR), with the encoders EDSR and RDN as its framework names
them. Its files are {"state_dict", "meta", …}: what is not stored follows from the shapes."""

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
EDSR = {
    r"conv_first\.": r"head.0.",
    r"body\.(\d+)\.conv1\.": r"body.\1.body.0.",
    r"body\.(\d+)\.conv2\.": r"body.\1.body.2.",
}
RDN = {
    r"sfe([12])\.": r"SFENet\1.",
    r"rdbs\.(\d+)\.layers\.(\d+)\.conv\.": r"RDBs.\1.convs.\2.conv.0.",
    r"rdbs\.(\d+)\.lff\.": r"RDBs.\1.LFF.",
    r"gff\.": r"GFF.",
}
"""Names of an encoder's tensors, theirs and ours."""


def from_ciaosr(
    name: str, args: Mapping[str, Any], weights: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of a model "ciaosr"; files of the framework have no `args`.
    Raises ValueError for other switches and for other encoders."""
    check_switches(name, args, {"encoder_spec", "hidden_list"}, ONLY)
    encoder, names = _encoder(name, args, weights)
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        if key.startswith(("imnet_", "cs_attn.")):
            if key != "cs_attn.escape_NaN":  # a constant
                found[f"decoder.{key}"] = value
            continue
        for theirs, ours in names.items():
            key = re.sub(f"^{theirs}", ours, key)
        found[f"encoder.{key}"] = value
    decoder = {"name": "ciaosr", "hidden": args.get("hidden_list") or _hidden(weights)}
    normalization = {"mean": [0.4488, 0.4371, 0.4040], "std": 1.0}
    return {"encoder": encoder, "decoder": decoder, "normalization": normalization}, found


def _encoder(
    name: str, args: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the configuration of the encoder, and the names of its tensors."""
    stated = encoder_config(args["encoder_spec"])[0] if "encoder_spec" in args else {}
    if stated.get("name", "rdn") not in ("edsr-baseline", "rdn"):
        raise ValueError(f"the model {name!r} is read with the encoders EDSR and RDN only")
    if "sfe1.weight" in weights:
        width, growth = weights["sfe1.weight"].shape[0], weights["rdbs.0.layers.0.conv.weight"]
        config = {"name": "rdn", "width": width, "growth": growth.shape[0]}
        config["blocks"] = count(weights, r"rdbs\.(\d+)\.")
        return {**config, "layers": count(weights, r"rdbs\.0\.layers\.(\d+)\.")}, RDN
    if "patch_embed.norm.weight" in weights:
        raise ValueError(f"the model {name!r} is read with the encoders EDSR and RDN only")
    blocks, width = count(weights, r"body\.(\d+)\."), weights["conv_first.weight"].shape[0]
    config = {"name": "edsr-baseline", "blocks": blocks, "width": width, **stated}
    return config, {**EDSR, r"conv_after_body\.": f"body.{config['blocks']}."}


def count(weights: Mapping[str, object], pattern: str) -> int:
    """Return how many numbers the matching names have."""
    return len({match[1] for key in weights if (match := re.match(pattern, key))})


def _hidden(weights: Mapping[str, Tensor]) -> list[int]:
    """Return the widths of the hidden layers."""
    layers = count(weights, r"imnet_q\.layers\.(\d+)\.")
    return [weights[f"imnet_q.layers.{2 * i}.weight"].shape[0] for i in range(layers - 1)]
