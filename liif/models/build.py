"""Build a model from its configuration. The only list of encoders and of decoders."""

from typing import Annotated, Union

import pydantic
import torch

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
    """Configuration of a model: an encoder and a decoder, each selected by its `name`."""

    encoder: Annotated[Union[AnyEncoder], pydantic.Field(discriminator="name")]  # noqa: UP007 # pyright: ignore
    decoder: Annotated[Union[AnyDecoder], pydantic.Field(discriminator="name")]  # noqa: UP007 # pyright: ignore


def build_model(config: ModelConfig, *, seed: int = 0) -> SRModel:
    """Return a model with PyTorch's default initial weights, which depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = config.encoder.build()
        return SRModel(encoder, config.decoder.build(encoder.width))
