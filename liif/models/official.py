"""Translate checkpoints of the official LIIF code to this package's names."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from liif.models.decoders.upsampler import STAGES
from liif.models.encoders.rdn import CONFIGURATIONS

Weights = dict[str, Tensor]


def from_official(content: Mapping[str, Any]) -> tuple[dict[str, Any], Weights]:
    """Return configuration and weights of {"model": {"name", "args", "sd"}, …}; raises ValueError
    for other models and encoders, KeyError, TypeError or AttributeError for other layouts."""
    name, args, weights = (content["model"][key] for key in ("name", "args", "sd"))
    if name not in ("liif", "metasr"):
        raise ValueError(f"its model is {name!r}; known are 'liif' and 'metasr'")
    spec = args["encoder_spec"]
    encoder, upsampler = _official_encoder(spec["name"], spec.get("args") or {})
    if name == "metasr":
        decoder: dict[str, Any] = {"name": "metasr"}
    elif args.get("imnet_spec") is not None:
        decoder = {"name": "liif", "hidden": list(args["imnet_spec"]["args"]["hidden_list"])}
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
    renamed: Weights = {}
    for key, value in weights.items():
        key = key.removeprefix("module.")  # of DataParallel
        for old, new in prefixes.items():
            if key.startswith(old):
                key = new + key.removeprefix(old)
        # EDSR's constant layers, which the official model contains but does not use.
        if not key.startswith(("encoder.sub_mean.", "encoder.add_mean.")):
            renamed[key] = value
    return {"encoder": encoder, "decoder": decoder}, renamed


def _official_encoder(name: str, args: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configurations of the encoder and of its own upsampler."""
    scale = {"scale": args.get("scale", 2)}
    if name in ("edsr-baseline", "edsr"):
        blocks, width, residual = (16, 64, 1.0) if name == "edsr-baseline" else (32, 256, 0.1)
        config = {"name": "edsr-baseline", "residual_scale": args.get("res_scale", residual)}
        config |= {"blocks": args.get("n_resblocks", blocks), "width": args.get("n_feats", width)}
        return config, scale
    if name == "rdn":
        letter = args.get("RDNconfig", "B")
        config = {"name": "rdn", "configuration": letter, "width": args.get("G0", 64)}
        return config, {**scale, "width": CONFIGURATIONS[letter][2]}
    raise ValueError(f"its encoder is {name!r}; known are 'edsr-baseline', 'edsr' and 'rdn'")
