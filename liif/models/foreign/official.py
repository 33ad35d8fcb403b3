"""Write checkpoints in the layout of the official LIIF code (yinboc/liif), and LTE's of the code of
LTE (jaewon-lee-b/lte): {"model": {"name", "args", "sd"}, "epoch"}."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from liif.models.build import ModelConfig
from liif.models.channels import Channels, Normalization
from liif.models.decoders.liif import LiifConfig
from liif.models.decoders.lte import LteConfig
from liif.models.decoders.metasr import MetaSrConfig
from liif.models.decoders.upsampler import STAGES, UpsamplerConfig
from liif.models.encoders.edsr import EdsrConfig
from liif.models.encoders.rcan import RcanConfig
from liif.models.encoders.rdn import CONFIGURATIONS, RdnConfig

MEAN = (0.4488, 0.4371, 0.4040)
"""Of DIV2K, in constant layers that EDSR and RCAN have and do not use."""


def official_model(config: ModelConfig) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of a model in the official code. Raises ValueError for a
    model that this code does not have."""
    if config.channels != Channels() or config.normalization != Normalization():
        raise ValueError("the official code has models of RGB images normalised by 0.5 only")
    decoder, spec = config.decoder, _encoder(config)
    match decoder:
        case LiifConfig():
            args: dict[str, Any] = {"imnet_spec": _mlp(decoder.hidden)}
            args |= {"local_ensemble": decoder.local_ensemble, "cell_decode": decoder.cell_decode}
            return "liif", {"encoder_spec": spec, **args, "feat_unfold": decoder.feature_unfold}
        case MetaSrConfig() if decoder.hidden == MetaSrConfig().hidden:
            return "metasr", {"encoder_spec": spec}
        case UpsamplerConfig() if decoder.width in (None, _inner(config)):
            return "liif", {"encoder_spec": spec}
        case LteConfig():
            args = {"imnet_spec": _mlp(decoder.hidden), "hidden_dim": 2 * decoder.waves}
            return "lte", {"encoder_spec": spec, **args}
        case _:
            text = f"the official code has no such decoder: {decoder.name}; it has liif, metasr and"
            raise ValueError(f"{text} upsampler, and LTE's has lte")


def _encoder(config: ModelConfig) -> dict[str, Any]:
    encoder, decoder = config.encoder, config.decoder
    is_alone = isinstance(decoder, UpsamplerConfig)
    more: dict[str, Any] = {"scale": decoder.scale} if is_alone else {"no_upsampling": True}
    match encoder:
        case EdsrConfig():
            args = {"n_resblocks": encoder.blocks, "n_feats": encoder.width}
            args |= {"res_scale": encoder.residual_scale}
        case RdnConfig(configuration=letter):
            own = encoder.blocks, encoder.layers, encoder.growth
            numbers = zip(own, CONFIGURATIONS[letter], strict=True)
            if any(mine not in (None, published) for mine, published in numbers):
                raise ValueError("the official code has RDN in the configurations A and B only")
            args = {"G0": encoder.width, "RDNconfig": letter}
        case RcanConfig():
            args = {"n_resgroups": encoder.groups, "n_resblocks": encoder.blocks}
            args |= {"n_feats": encoder.width, "reduction": encoder.reduction}
        case _:
            text = f"the official code has no such encoder: {encoder.name}; it has edsr-baseline"
            raise ValueError(f"{text}, rdn and rcan")
    return {"name": encoder.name, "args": {**args, **more}}


def _inner(config: ModelConfig) -> int:
    """Return the channels between the stages of an encoder's own upsampler."""
    encoder = config.encoder
    if isinstance(encoder, RdnConfig):
        return encoder.growth or CONFIGURATIONS[encoder.configuration][2]
    return encoder.width


def _mlp(hidden: tuple[int, ...]) -> dict[str, Any]:
    return {"name": "mlp", "args": {"out_dim": 3, "hidden_list": list(hidden)}}


def official_content(config: ModelConfig, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the content of a checkpoint in the official layout, without state of a training.
    Raises ValueError as `official_model`."""
    name, args = official_model(config)
    stages = STAGES.get(getattr(config.decoder, "scale", 0), [])
    names = {r"decoder\.mlp\.": "imnet.", r"decoder\.(coef|freq|phase)\.": r"\1."}
    if isinstance(config.decoder, UpsamplerConfig):
        is_rdn = isinstance(config.encoder, RdnConfig)
        names = {rf"decoder\.layers\.{2 * len(stages)}\.": "encoder.tail.1.",
                 r"decoder\.layers\.": "encoder.tail.0."}  # fmt: skip
        names = {r"decoder\.layers\.": "encoder.UPNet."} if is_rdn else names
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        for ours, theirs in names.items():
            if re.match(ours, key):
                key = re.sub(f"^{ours}", theirs, key)
                break
        found[key] = value.detach().cpu().contiguous()
    if not isinstance(config.encoder, RdnConfig):
        for layer, sign in (("sub_mean", -1), ("add_mean", 1)):
            found[f"encoder.{layer}.weight"] = torch.eye(3).view(3, 3, 1, 1)
            found[f"encoder.{layer}.bias"] = sign * torch.tensor(MEAN)
    return {"model": {"name": name, "args": args, "sd": found}, "epoch": 0}
