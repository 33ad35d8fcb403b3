"""Checkpoints of the official LIIF code (yinboc/liif): LIIF, Meta-SR, and EDSR and RDN alone."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from liif.models.decoders.upsampler import STAGES
from liif.models.foreign.encoders import encoder_config, is_unused
from liif.models.foreign.switches import check_switches, hidden_of


def from_liif(
    name: str, args: Mapping[str, Any], weights: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of a model "liif" or "metasr". Raises ValueError for
    switches that are not known."""
    parts = {"local_ensemble", "feat_unfold", "cell_decode"}
    known = set[str]() if name == "metasr" else {"imnet_spec", *parts}
    check_switches(name, args, {"encoder_spec", *known})
    is_alone = name == "liif" and args.get("imnet_spec") is None
    encoder, upsampler = encoder_config(args["encoder_spec"], is_alone=is_alone)
    if name == "metasr":
        decoder: dict[str, Any] = {"name": "metasr"}
    elif not is_alone:
        hidden = hidden_of(name, args["imnet_spec"], "relu", default="relu")
        decoder = {"name": "liif", "hidden": hidden}
        decoder |= {key: args.get(key, True) for key in ("local_ensemble", "cell_decode")}
        decoder["feature_unfold"] = args.get("feat_unfold", True)
    else:
        decoder = {"name": "upsampler", **upsampler}
    last = 2 * len(STAGES.get(decoder.get("scale", 2), []))  # each stage before it has two layers
    prefixes = {
        "imnet.": "decoder.mlp.",
        "encoder.UPNet.": "decoder.layers.",
        "encoder.tail.0.": "decoder.layers.",
        "encoder.tail.1.": f"decoder.layers.{last}.",
    }
    renamed: dict[str, Tensor] = {}
    for key, value in weights.items():
        for old, new in prefixes.items():
            if key.startswith(old):
                key = new + key.removeprefix(old)
        if not is_unused(key):
            renamed[key] = value
    return {"encoder": encoder, "decoder": decoder}, renamed
