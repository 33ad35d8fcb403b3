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
    if name == "rcan":
        config = {"name": "rcan", "groups": args.get("n_resgroups", 10)}
        config |= {"blocks": args.get("n_resblocks", 20), "width": args.get("n_feats", 64)}
        return {**config, "reduction": args.get("reduction", 16)}, scale
    if name == "swinir":
        depths, heads = args.get("depths", [6] * 6), args.get("num_heads", [6] * 6)
        if len(set(heads)) > 1:
            raise ValueError(f"its SwinIR has num_heads {heads}, which differ")
        window, side = args.get("window_size", 8), args.get("img_size", 48)
        if side <= window:  # the official code then shrinks the window
            raise ValueError(f"its SwinIR has img_size {side}, not more than window_size {window}")
        config = {"name": "swinir", "embedding": args.get("embed_dim", 180), "depths": depths}
        config |= {"heads": heads[0], "window": window, "ratio": args.get("mlp_ratio", 2)}
        return config, scale
    known = "'edsr-baseline', 'edsr', 'rdn', 'rcan' and 'swinir'"
    raise ValueError(f"its encoder is {name!r}; known are {known}")


def is_unused(key: str) -> bool:
    """Whether a tensor is stored but follows from the configuration: the constant layers of EDSR
    and RCAN, indices and masks of SwinIR."""
    constant = key.startswith(("encoder.sub_mean.", "encoder.add_mean."))
    return constant or key.endswith((".relative_position_index", ".attn_mask"))
