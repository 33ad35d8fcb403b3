"""From configuration to model: the only list of encoders and of decoders."""

from typing import Annotated, Union

import torch
from pydantic import Field

from liif.core.section import Section
from liif.models.decoders.liif import LiifConfig
from liif.models.decoders.metasr import MetaSrConfig
from liif.models.decoders.upsampler import UpsamplerConfig
from liif.models.encoders.edsr import EdsrConfig
from liif.models.encoders.rdn import RdnConfig
from liif.models.model import SRModel

ENCODERS = {"edsr-baseline": EdsrConfig, "rdn": RdnConfig}
DECODERS = {"liif": LiifConfig, "metasr": MetaSrConfig, "upsampler": UpsamplerConfig}

AnyEncoder, AnyDecoder = tuple(ENCODERS.values()), tuple(DECODERS.values())


class ModelConfig(Section):
    """An encoder and a decoder, each chosen by its `name`."""

    encoder: Annotated[Union[AnyEncoder], Field(discriminator="name")]  # noqa: UP007 # pyright: ignore
    decoder: Annotated[Union[AnyDecoder], Field(discriminator="name")]  # noqa: UP007 # pyright: ignore


def build_model(config: ModelConfig, *, seed: int = 0) -> SRModel:
    """A model with PyTorch's default initial weights, the same ones for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = config.encoder.build()
        return SRModel(encoder, config.decoder.build(encoder.width))
