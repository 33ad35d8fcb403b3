"""Checkpoints of the official Thera code (prs-eth/thera): pickles of Flax parameters.

A file is {"model": {"params": …}, "backbone", "size"}; encoder and decoder follow from the names
and shapes of the parameters, which are those that the code gives them under Flax.
"""

import math
import re
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from liif.models.foreign.arrays import Array

MEAN = (0.4488, 0.4371, 0.4040)
"""Of the normalisation; the divisor is 0.5."""
_BLOCK = r"refine/RSTB_(\d+)/BasicLayer_0/SwinTransformerBlock_(\d+)/"
_OUR_BLOCK = r"decoder.swin.layers.\1.residual_group.blocks.\2."
RULES = {
    r"encoder/head/layers_0": r"encoder.head.0",
    r"encoder/body/layers_(\d+)": r"encoder.body.\1",
    r"encoder/body/layers_(\d+)/body/layers_([02])": r"encoder.body.\1.body.\2",
    r"encoder/Conv_0": r"encoder.SFENet1",
    r"encoder/Conv_1": r"encoder.SFENet2",
    r"encoder/RDB_(\d+)/RDB_Conv_(\d+)/Conv_0": r"encoder.RDBs.\1.convs.\2.conv.0",
    r"encoder/RDB_(\d+)/Conv_0": r"encoder.RDBs.\1.LFF",
    r"encoder/Conv_2": r"encoder.GFF.0",
    r"encoder/Conv_3": r"encoder.GFF.1",
    r"refine/layers_(\d+)/residual/layers_0": r"decoder.tail.\1.conv",
    r"refine/layers_(\d+)/residual/layers_1": r"decoder.tail.\1.norm",
    r"refine/layers_(\d+)/residual/layers_2": r"decoder.tail.\1.fc1",
    r"refine/layers_(\d+)/residual/layers_4": r"decoder.tail.\1.fc2",
    r"refine/layers_(\d+)/LayerNorm_0": r"decoder.tail.\1.project.0",
    r"refine/layers_(\d+)/Conv_0": r"decoder.tail.\1.project.1",
    r"refine/Conv_0": r"decoder.swin.conv_first",
    r"refine/PatchEmbed_0/LayerNorm_0": r"decoder.swin.patch_embed.norm",
    r"refine/RSTB_(\d+)/Conv_0": r"decoder.swin.layers.\1.conv",
    r"refine/LayerNorm_0": r"decoder.swin.norm",
    r"refine/Conv_1": r"decoder.swin.conv_after_body",
    r"refine/Conv_2": r"decoder.swin.conv_before_upsample.0",
    _BLOCK + r"LayerNorm_0": _OUR_BLOCK + r"norm1",
    _BLOCK + r"LayerNorm_1": _OUR_BLOCK + r"norm2",
    _BLOCK + r"WindowAttention_0": _OUR_BLOCK + r"attn",
    _BLOCK + r"WindowAttention_0/(qkv|proj)": _OUR_BLOCK + r"attn.\3",
    _BLOCK + r"Mlp_0/Dense_0": _OUR_BLOCK + r"mlp.fc1",
    _BLOCK + r"Mlp_0/Dense_1": _OUR_BLOCK + r"mlp.fc2",
    r"out_conv": r"decoder.out_conv",
}
"""Names of modules, theirs and ours."""


def is_thera(content: Mapping[str, Any]) -> bool:
    """Whether a checkpoint has the layout of this code."""
    model = content.get("model")
    return isinstance(model, Mapping) and "params" in model


def from_thera(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights. Raises ValueError for parameters that are not known, and
    KeyError, TypeError or AttributeError for other layouts."""
    arrays = flattened(content["model"]["params"])
    depths = _counts(arrays, r"refine/RSTB_(\d+)/BasicLayer_0/SwinTransformerBlock_(\d+)/")
    decoder: dict[str, Any] = {"name": "thera", "hidden": arrays["components"].shape[1] + len(MEAN)}
    stages, places = _tail(arrays)
    decoder["tail"] = stages
    if depths:
        block = "refine/RSTB_0/BasicLayer_0/SwinTransformerBlock_0/"
        table = arrays[f"{block}WindowAttention_0/relative_position_bias_table"]
        embedding, hidden = arrays[f"{block}Mlp_0/Dense_0/kernel"].shape
        decoder["swin"] = {
            "embedding": embedding, "depths": tuple(depths), "heads": table.shape[1],
            "window": (math.isqrt(table.shape[0]) + 1) // 2, "ratio": hidden / embedding,
        }  # fmt: skip
    weights = dict(_translated(name, array, places) for name, array in arrays.items())
    _add_mean(weights)
    normalization = {"mean": MEAN, "std": 0.5}
    config = {"encoder": _encoder(arrays), "decoder": decoder, "normalization": normalization}
    return config, weights


def flattened(tree: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return copies of the arrays of nested dictionaries, named by the path to them. Raises
    ValueError if two share their numbers, which would let a small file fill the memory."""
    found: dict[str, Tensor] = {}
    left: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    while left:
        path, value = left.pop()
        if isinstance(value, Array):
            if value.tensor is None:
                raise ValueError("its parameters are not all arrays of floats, little-endian")
            found["/".join(path)] = value.tensor
        elif len(path) > 8:
            raise ValueError("its parameters are nested too deeply")
        else:
            left += [((*path, key[:100]), inner) for key, inner in value.items()]
    if len({array.data_ptr() for array in found.values()}) < len(found):
        raise ValueError("two of its parameters are the same array")
    return {name: array.clone() for name, array in found.items()}


def _counts(arrays: Mapping[str, Tensor], pattern: str) -> list[int]:
    """Return, for each first number of the matching names, how many second numbers there are."""
    pairs = sorted({(int(m[1]), int(m[2])) for name in arrays if (m := re.match(pattern, name))})
    return [len(list(group)) for _, group in groupby(pairs, key=lambda pair: pair[0])]


def _encoder(arrays: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the configuration of the encoder."""
    if "encoder/head/layers_0/kernel" in arrays:
        blocks = len(_counts(arrays, r"encoder/body/layers_(\d+)/body/layers_(\d+)/"))
        width = arrays["encoder/head/layers_0/kernel"].shape[-1]
        return {"name": "edsr-baseline", "blocks": blocks, "width": width}
    layers = _counts(arrays, r"encoder/RDB_(\d+)/RDB_Conv_(\d+)/")
    config = {"name": "rdn", "width": arrays["encoder/Conv_0/kernel"].shape[-1]}
    config |= {"blocks": len(layers), "layers": layers[0] if layers else 0}
    return {**config, "growth": arrays["encoder/RDB_0/RDB_Conv_0/Conv_0/kernel"].shape[-1]}


def _tail(arrays: Mapping[str, Tensor]) -> tuple[tuple[tuple[int, int], ...], dict[int, int]]:
    """Return (blocks, channels) of the stages of ConvNeXt blocks, and the place of each of their
    layers in ours, where a projection is two layers."""
    widths: list[int] = []
    places: dict[int, int] = {}
    numbers = {m[1] for name in arrays if (m := re.match(r"refine/layers_(\d+)/", name))}
    for i in range(len(numbers)):
        kernel = arrays.get(f"refine/layers_{i}/residual/layers_0/kernel")
        places[i] = max(places.values(), default=-1) + 1
        if kernel is None:
            places[i] += 1  # the second of the two
        else:
            widths.append(kernel.shape[-1])
    return tuple((len(list(group)), width) for width, group in groupby(widths)), places


def _translated(name: str, array: Tensor, places: Mapping[int, int]) -> tuple[str, Tensor]:
    """Return name and values of a parameter in our layout."""
    if name in ("components", "k"):
        return f"decoder.{name}", array
    module, _, kind = name.rpartition("/")
    ours = _renamed(module, places)
    if kind == "relative_position_bias_table":
        return f"{ours}.{kind}", array
    if kind == "bias":
        return f"{ours}.bias", array
    if kind == "scale":
        return f"{ours}.weight", array
    if kind != "kernel":
        raise ValueError(f"{name} is an unknown parameter")
    if array.dim() == 2:
        return f"{ours}.weight", array.T.contiguous()
    weight = array.permute(3, 2, 0, 1).contiguous()
    is_linear = re.fullmatch(r"decoder\.tail\.\d+(\.fc[12])?", ours)
    return f"{ours}.weight", weight.flatten(1) if is_linear else weight


def _renamed(module: str, places: Mapping[int, int]) -> str:
    for theirs, ours in RULES.items():
        if match := re.fullmatch(theirs, module):
            name = match.expand(ours)
            break
    else:
        raise ValueError(f"{module} is an unknown module")
    if match := re.fullmatch(r"decoder\.tail\.(\d+)\.(.*)", name):
        place, rest = places[int(match[1])], match[2]
        if rest.startswith("project."):
            return f"decoder.tail.{place - 1 + int(rest[-1])}"
        return f"decoder.tail.{place}.{rest}"
    return name


def _add_mean(weights: dict[str, Tensor]) -> None:
    """Add the mean of the normalisation to all colours, as the official code does: by waves of
    frequency zero, one for each colour, whose sine is the mean in normalised units."""
    n = len(MEAN)
    components, bias = weights["decoder.components"], weights["decoder.out_conv.bias"]
    weight, hidden = weights["decoder.out_conv.weight"], components.shape[1]
    weights["decoder.components"] = torch.cat([components, components.new_zeros(2, n)], dim=1)
    phase = torch.tensor([math.asin(value / 0.5) for value in MEAN])
    colours, phases = weight.split([hidden * n, hidden])
    of_colours, of_phases = bias.split([hidden * n, hidden])
    parts = [colours, weight.new_zeros(n * n, *weight.shape[1:]), phases]
    weights["decoder.out_conv.weight"] = torch.cat([*parts, weight.new_zeros(n, *weight.shape[1:])])
    biases = [of_colours, torch.eye(n).flatten(), of_phases, phase]
    weights["decoder.out_conv.bias"] = torch.cat(biases)
