"""The encoders of the official LIIF code, which the code of later decoders uses, too."""

from collections.abc import Mapping
from typing import Any

from liif.models.encoders.rdn import CONFIGURATIONS


def encoder_config(spec: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configurations of the encoder {"name", "args"} and of its own upsampler. Raises
    ValueError for an encoder that is not known."""
    name, args = spec["name"], spec.get("args") or {}
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


def is_unused(key: str) -> bool:
    """Whether a tensor is one of EDSR's constant layers, which are stored but not used."""
    return key.startswith(("encoder.sub_mean.", "encoder.add_mean."))
