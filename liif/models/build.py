"""Build a model from its configuration. The only list of encoders and of decoders."""

from typing import Annotated, Union

import pydantic
import torch

from liif.core.section import Section
from liif.models.channels import Channels, Normalization
from liif.models.decoders.bilinear import BilinearConfig
from liif.models.decoders.ciaosr import CiaoSrConfig
from liif.models.decoders.clit import ClitConfig
from liif.models.decoders.fourier import FourierConfig, OpeConfig
from liif.models.decoders.hiif import HiifConfig
from liif.models.decoders.itsrn import ItsrnConfig
from liif.models.decoders.liif import LiifConfig
from liif.models.decoders.linf import LinfConfig
from liif.models.decoders.lmf import LmLiifConfig, LmLteConfig
from liif.models.decoders.lte import LteConfig
from liif.models.decoders.metasr import MetaSrConfig
from liif.models.decoders.srno import SrnoConfig
from liif.models.decoders.thera import TheraConfig
from liif.models.decoders.upsampler import UpsamplerConfig
from liif.models.encoders.edsr import EdsrConfig
from liif.models.encoders.rcan import RcanConfig
from liif.models.encoders.rdn import RdnConfig
from liif.models.encoders.swinir import SwinIrConfig
from liif.models.model import SRModel

ENCODERS = {
    "edsr-baseline": EdsrConfig,
    "rdn": RdnConfig,
    "rcan": RcanConfig,
    "swinir": SwinIrConfig,
}
DECODERS = {
    "liif": LiifConfig,
    "lte": LteConfig,
    "lm-liif": LmLiifConfig,
    "lm-lte": LmLteConfig,
    "srno": SrnoConfig,
    "linf": LinfConfig,
    "ciaosr": CiaoSrConfig,
    "hiif": HiifConfig,
    "thera": TheraConfig,
    "itsrn": ItsrnConfig,
    "clit": ClitConfig,
    "ope": OpeConfig,
    "fourier": FourierConfig,
    "bilinear": BilinearConfig,
    "metasr": MetaSrConfig,
    "upsampler": UpsamplerConfig,
}

AnyEncoder, AnyDecoder = tuple(ENCODERS.values()), tuple(DECODERS.values())


class ModelConfig(Section):
    """Configuration of a model: an encoder and a decoder, each selected by its `name`."""

    encoder: Annotated[Union[AnyEncoder], pydantic.Field(discriminator="name")]  # noqa: UP007 # pyright: ignore
    decoder: Annotated[Union[AnyDecoder], pydantic.Field(discriminator="name")]  # noqa: UP007 # pyright: ignore
    channels: Channels = Channels()
    normalization: Normalization = Normalization()

    @pydantic.model_validator(mode="after")
    def _check(self) -> "ModelConfig":
        for key in ("mean", "std"):
            value, wanted = getattr(self.normalization, key), self.channels.input
            if isinstance(value, tuple):
                if len(value) != wanted:
                    raise ValueError(
                        f"normalization.{key}: {len(value)} numbers for {wanted} channels; give "
                        "one number, or one for each channel"
                    )
                if self.channels.output != wanted:
                    raise ValueError(
                        f"normalization.{key}: give one number, because channels.in and "
                        "channels.out differ"
                    )
        return self


def build_model(config: ModelConfig, *, seed: int = 0) -> SRModel:
    """Return a model with PyTorch's default initial weights, which depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        channels = config.channels
        encoder = config.encoder.build(channels.input)
        decoder = config.decoder.build(encoder.width, channels.output)
        return SRModel(encoder, decoder, channels, config.normalization)
