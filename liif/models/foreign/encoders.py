"""The encoders of the official LIIF code, which the code of later decoders uses, too."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from liif.models.encoders.rdn import CONFIGURATIONS
from liif.models.foreign.switches import check_switches, part

SWINIR = {"img_size", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "upscale",
          "img_range", "upsampler", "no_upsampling", "use_checkpoint",
          "drop_path_rate"}  # fmt: skip
SWINIR_ONLY = {"patch_size": 1, "in_chans": 3, "qkv_bias": True, "qk_scale": None, "ape": False,
               "patch_norm": True, "resi_connection": "1conv", "drop_rate": 0,
               "attn_drop_rate": 0}  # fmt: skip
"""Switches of SwinIR: those that are read or change no result, and the only supported values."""


def encoder_config(
    spec: Mapping[str, Any], *, is_alone: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configurations of the encoder {"name", "args"} and of its own upsampler, which is
    of use if it `is_alone`, without a decoder. Raises ValueError for an encoder or a switch that is
    not known, and for an upsampler before a decoder."""
    name, args = part("its encoder", spec)
    name = name.removeprefix("adaptive-")  # as OPE-SR's code
    if not is_alone and args.get("no_upsampling") is False:
        raise ValueError("no_upsampling: False is not supported for the encoder of a decoder")
    scale = {"scale": args.get("scale", 2)}
    if name in ("edsr-baseline", "edsr"):
        known = {"n_resblocks", "n_feats", "res_scale", "scale", "no_upsampling", "rgb_range"}
        check_switches(name, args, known)
        blocks, width, residual = (16, 64, 1.0) if name == "edsr-baseline" else (32, 256, 0.1)
        config = {"name": "edsr-baseline", "residual_scale": args.get("res_scale", residual)}
        config |= {"blocks": args.get("n_resblocks", blocks), "width": args.get("n_feats", width)}
        return config, scale
    if name == "rdn":
        known = {"RDNconfig", "G0", "n_feats", "scale", "no_upsampling"}
        check_switches(name, args, known, {"RDNkSize": 3, "bn": False})
        letter = args.get("RDNconfig", "B")
        width = args.get("n_feats") or args.get("G0", 64)  # the former in OPE-SR's code
        config = {"name": "rdn", "configuration": letter, "width": width}
        return config, {**scale, "width": CONFIGURATIONS[letter][2]}
    if name == "rcan":
        known = {"n_resgroups", "n_resblocks", "n_feats", "reduction"}
        check_switches(name, args, known | {"scale", "no_upsampling", "rgb_range"})
        config = {"name": "rcan", "groups": args.get("n_resgroups", 10)}
        config |= {"blocks": args.get("n_resblocks", 20), "width": args.get("n_feats", 64)}
        return {**config, "reduction": args.get("reduction", 16)}, scale
    if name == "swinir":
        check_switches(name, args, SWINIR, SWINIR_ONLY)
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


def split_weights(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the encoder's tensors that are of use, and all others."""
    encoder = {
        key: value
        for key, value in weights.items()
        if key.startswith("encoder.") and not is_unused(key)
    }
    rest = {key: value for key, value in weights.items() if not key.startswith("encoder.")}
    return encoder, rest
