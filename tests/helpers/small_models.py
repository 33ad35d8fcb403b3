"""The small variant of every encoder and decoder that `liif.models.build` lists."""

import pytest

from liif.models.build import DECODERS, ENCODERS, ModelConfig, build_model

SMALL_ENCODERS = {name: {"name": name, **kind.SMALL} for name, kind in ENCODERS.items()}
SMALL_DECODERS = {name: {"name": name, **kind.SMALL} for name, kind in DECODERS.items()}

every_encoder = pytest.mark.parametrize("encoder", SMALL_ENCODERS)
every_decoder = pytest.mark.parametrize("decoder", SMALL_DECODERS)
every_pair = pytest.mark.parametrize(
    ("encoder", "decoder"), [(e, d) for e in SMALL_ENCODERS for d in SMALL_DECODERS]
)
every_model = pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        *((encoder, "liif") for encoder in SMALL_ENCODERS),
        *(("edsr-baseline", decoder) for decoder in SMALL_DECODERS if decoder != "liif"),
    ],
)
"""Every encoder, and every decoder, once."""


def small_config(encoder="edsr-baseline", decoder="liif", **options):
    """The configuration of a small model; `options` are the decoder's."""
    return ModelConfig(
        encoder=SMALL_ENCODERS[encoder], decoder={**SMALL_DECODERS[decoder], **options}
    )


def small(encoder="edsr-baseline", decoder="liif", seed=0, **options):
    """A small model; `options` are the decoder's."""
    return build_model(small_config(encoder, decoder, **options), seed=seed)
