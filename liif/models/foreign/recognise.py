"""Tell from the names and shapes of a state dict alone which model it is.

What no shape tells is assumed to be as published: the mean over four neighbours (`local_ensemble`),
the factor of EDSR's residuals, and the size of images that SwinIR was built for.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from liif.models.encoders.rdn import CONFIGURATIONS
from liif.models.foreign.ciaosr import EDSR, RDN, count
from liif.models.foreign.layouts import ROOTS

Spec = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]

LARGE_EDSR = (32, 256)
"""Blocks and channels of the EDSR whose residuals have the factor 0.1."""


def official_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights that are named as in mmagic, or as in this package, by the names of the
    official code."""
    if any(key.startswith("decoder.mlp.") for key in weights):
        named = {key.replace("decoder.mlp.", "imnet."): value for key, value in weights.items()}
        return {key.removeprefix("decoder."): value for key, value in named.items()}
    if not {"conv_first.weight", "sfe1.weight"} & weights.keys():
        return dict(weights)
    names = {**EDSR, **RDN}
    if "conv_first.weight" in weights:
        blocks = count(weights, r"body\.(\d+)\.")
        names[r"conv_after_body\."] = f"body.{blocks}."
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        for theirs, ours in names.items():
            if re.match(theirs, key):
                key = f"encoder.{re.sub(f'^{theirs}', ours, key)}"
                break
        found[key] = value
    return found


def recognise(weights: Mapping[str, Tensor]) -> tuple[str, Spec]:
    """Return the name of a model and its arguments, as the official code has them, from weights
    with the names of that code. Raises ValueError if they are of no model that is known."""
    shapes: Shapes = {key: tuple(value.shape) for key, value in weights.items()}
    roots = {key.partition(".")[0] for key in shapes} & ROOTS  # others are told later
    try:
        encoder = _encoder(shapes)
        for is_it in (_linf, _lm, _lte, _srno, _hiif, _itsrn, _liif, _alone):
            if (found := is_it(shapes, roots, encoder)) is not None:
                name, args = found
                return name, {"encoder_spec": encoder, **args}
    except (LookupError, ValueError):
        pass
    listed = ", ".join(f"{key[:60]} {shapes[key]}" for key in list(shapes)[:3])
    raise ValueError(f"its weights are of no model that their shapes tell, e.g. {listed}")


def _encoder(shapes: Shapes) -> Spec:
    """Return the encoder's name and arguments."""
    if "encoder.SFENet1.weight" in shapes:
        width = shapes["encoder.SFENet1.weight"][0]
        growth = shapes["encoder.RDBs.0.convs.0.conv.0.weight"][0]
        sizes = count(shapes, r"encoder\.RDBs\.(\d+)\."), _in(shapes, "encoder.RDBs.0.convs")
        letters = [each for each, numbers in CONFIGURATIONS.items() if numbers == (*sizes, growth)]
        return {"name": "rdn", "args": {"RDNconfig": letters[0], "G0": width}}
    if "encoder.patch_embed.norm.weight" in shapes:
        block = "encoder.layers.0.residual_group.blocks.0."
        width = shapes["encoder.conv_first.weight"][0]
        table, heads = shapes[f"{block}attn.relative_position_bias_table"]
        groups = _in(shapes, "encoder.layers")
        depths = [_in(shapes, f"encoder.layers.{i}.residual_group.blocks") for i in range(groups)]
        args = {"embed_dim": width, "depths": depths, "num_heads": [heads] * groups}
        args |= {"window_size": (math.isqrt(table) + 1) // 2}
        return {
            "name": "swinir",
            "args": {**args, "mlp_ratio": shapes[f"{block}mlp.fc1.weight"][0] / width},
        }
    width, blocks = shapes["encoder.head.0.weight"][0], _in(shapes, "encoder.body") - 1
    if "encoder.body.0.body.0.body.3.conv_du.0.weight" in shapes:
        inner = shapes["encoder.body.0.body.0.body.3.conv_du.0.weight"][0]
        args = {"n_resgroups": blocks, "n_resblocks": _in(shapes, "encoder.body.0.body") - 1}
        return {"name": "rcan", "args": {**args, "n_feats": width, "reduction": width // inner}}
    name = "edsr" if (blocks, width) == LARGE_EDSR else "edsr-baseline"
    return {"name": name, "args": {"n_resblocks": blocks, "n_feats": width}}


def _liif(shapes: Shapes, roots: set[str], encoder: Spec) -> tuple[str, Spec] | None:
    if roots != {"encoder", "imnet"}:
        return None
    first, width = shapes["imnet.layers.0.weight"][1], _width(shapes)
    if first == 3:
        return "metasr", {}
    inputs = {(9 if unfold else 1) * width + (4 if cell else 2): (unfold, cell)
              for unfold in (True, False) for cell in (True, False)}  # fmt: skip
    unfold, cell = inputs[first]
    args = {"feat_unfold": unfold, "cell_decode": cell}
    return "liif", {"imnet_spec": _mlp(shapes, "imnet"), **args}


def _alone(shapes: Shapes, roots: set[str], encoder: Spec) -> tuple[str, Spec] | None:
    """An encoder with its own upsampler."""
    if roots != {"encoder"}:
        return None
    is_rdn = encoder["name"] == "rdn"
    first = "encoder.UPNet.0.weight" if is_rdn else "encoder.tail.0.0.weight"
    inner = CONFIGURATIONS[encoder["args"]["RDNconfig"]][2] if is_rdn else _width(shapes)
    stages = count(shapes, rf"{first.rpartition('.0.')[0]}\.(\d+)\.") - is_rdn
    factor = math.isqrt(shapes[first][0] // inner)
    encoder["args"]["scale"] = factor**stages
    return "liif", {}


def _lte(shapes: Shapes, roots: set[str], encoder: Spec) -> tuple[str, Spec] | None:
    if roots == {"encoder", "coef", "freq", "phase", "imnet"}:
        args = {"imnet_spec": _mlp(shapes, "imnet")}
        return "lte", {**args, "hidden_dim": shapes["freq.weight"][0]}
    if roots == {"encoder", "coef", "freq", "phase", "layers"}:
        layers = _in(shapes, "layers") - 1
        return "lte-fast", {"hidden_dim": shapes["freq.weight"][0], "num_layer": layers}
    return None


def _linf(shapes: Shapes, roots: set[str], encoder: Spec) -> tuple[str, Spec] | None:
    if roots != {"encoder", "coef", "freq", "phase", "layers", "imnet"}:
        return None
    args = {"imnet_spec": {"name": "flow"}, "flow_layers": _in(shapes, "imnet.linears")}
    args |= {"hidden_dim": shapes["freq.weight"][0], "num_layer": _in(shapes, "layers") - 1}
    return "linf", args


def _lm(shapes: Shapes, roots: set[str], encoder: Spec) -> tuple[str, Spec] | None:
    if "hypernet" not in roots:
        return None
    narrow = {"hidden_dim": shapes["imnet.layers.0.weight"][0]}
    narrow["hidden_depth"] = _in(shapes, "imnet.layers") - 1
    args: Spec = {"imnet_spec": {"name": "lmmlp", "args": narrow}}
    args["hypernet_spec"] = _mlp(shapes, "hypernet")
    if "freq" in roots:
        return "lmlte", {**args, "hidden_dim": shapes["freq.weight"][0]}
    return "lmliif", args


def _srno(shapes: Shapes, roots: set[str], encoder: Spec) -> tuple[str, Spec] | None:
    if roots != {"encoder", "conv00", "conv0", "conv1", "fc1", "fc2"}:
        return None
    args = {"width": shapes["conv00.weight"][0], "blocks": shapes["conv0.kln.weight"][0]}
    return "sronet", args


def _hiif(shapes: Shapes, roots: set[str], encoder: Spec) -> tuple[str, Spec] | None:
    if roots != {"encoder", "freq", "fc_layers", "conv0", "conv1"}:
        return None
    width = shapes["freq.weight"][0]
    return "hiif", {"hidden_dim": width, "blocks": width // shapes["conv0.kln.weight"][0]}


def _itsrn(shapes: Shapes, roots: set[str], encoder: Spec) -> tuple[str, Spec] | None:
    if roots != {"encoder", "imnet", "Score", "Weight"}:
        return None
    network = _mlp(shapes, "imnet")
    return "ITNSR", {"imnet_spec": {**network, "args": {**network["args"], "act": "gelu"}}}


def _mlp(shapes: Shapes, name: str) -> Spec:
    """Return the network of linear layers, every second of which is an activation."""
    layers = [
        shapes[f"{name}.layers.{2 * i}.weight"][0] for i in range(_in(shapes, f"{name}.layers"))
    ]
    return {"name": "mlp", "args": {"out_dim": layers[-1], "hidden_list": layers[:-1]}}


def _width(shapes: Shapes) -> int:
    """Return the channels of the encoder's features."""
    if "encoder.conv_before_upsample.0.weight" in shapes:
        return shapes["encoder.conv_before_upsample.0.weight"][0]
    first = "encoder.SFENet1" if "encoder.SFENet1.weight" in shapes else "encoder.head.0"
    return shapes[f"{first}.weight"][0]


def _in(shapes: Shapes, name: str) -> int:
    """Return how many numbers come after `name` in the names of tensors."""
    return count(shapes, rf"{re.escape(name)}\.(\d+)\.")
