"""Costs are counted as by hand."""

import pytest
import torch
from helpers.small_models import SMALL_DECODERS, every_decoder, small
from torch import nn

from liif.models.build import DECODERS, ENCODERS
from liif.models.cost import decoder_cost, encoder_cost


def test_liif():
    cost = decoder_cost(DECODERS["liif"](), 64, 4)
    assert (cost.parameters, cost.per_input_pixel, cost.per_pair) == (346_883, 9 * 64 * 256, 0)
    mlp = 4 * 256 + 3 * 256**2 + 3 * 256
    more = 4 * (3 + 1) + 16  # weights of the ensemble, their areas and coordinates
    assert 4 * (mlp + 3) < cost.per_output_pixel < 4 * mlp + 2 * more
    assert (cost.radius, cost.has_statistics) == (2, False)


def test_waves_without_matrix_products_are_counted():
    cost = decoder_cost(DECODERS["ope"](waves=2), 10, 2)
    assert cost.per_input_pixel == 9 * 10 * 75
    assert 4 * (25 + 75) < cost.per_output_pixel < 4 * (25 + 75 + 3 + 20)


def test_attention_to_the_whole_image_grows_with_its_square():
    cost = decoder_cost(DECODERS["ciaosr"](), 64, 4)
    assert cost.radius is None
    # A quarter as many patches of 3 × 3 · 32 keys, and of 6 × 6 · 64 values.
    assert cost.per_pair == pytest.approx((9 * 32 + 36 * 64) / 4, abs=0.5)


@pytest.mark.parametrize(
    ("name", "parameters", "products"),
    [("edsr-baseline", 1_220_416, 64 * 9 * (3 + 33 * 64)), ("swinir", 11_603_044, 12.3e6)],
)
def test_encoders(name, parameters, products):
    cost = encoder_cost(ENCODERS[name]())
    assert cost.parameters == parameters
    assert cost.per_input_pixel == pytest.approx(products, rel=0.005)


def test_attention_in_windows_is_counted():
    """Two blocks of an embedding of 12 in windows of 4 × 4, by hand."""
    cost = encoder_cost(ENCODERS["swinir"](**ENCODERS["swinir"].SMALL))
    block = 12 * 36 + 2 * 16 * 12 + 12 * 12 + 2 * 2 * 12 * 12
    convolutions = 9 * (3 * 12 + 2 * 12 * 12 + 12 * 6)
    assert cost.per_input_pixel == pytest.approx(2 * block + convolutions, rel=0.05)


@every_decoder
def test_counting_changes_nothing(decoder):
    """The number of parameters is the model's; a count draws no less than a matrix product."""
    model = small(decoder=decoder)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    given = model.decoder
    options = DECODERS[decoder].model_validate(SMALL_DECODERS[decoder])
    cost = decoder_cost(options, model.encoder.width, 2)
    assert cost.parameters == sum(each.numel() for each in given.parameters())
    assert cost.per_input_pixel + cost.per_output_pixel > 0
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_statistics_are_counted():
    """Two means over all points, each of which repeats what is before it."""
    cost = decoder_cost(DECODERS["srno"](), 64, 4)
    layer = 256 * 768 + 2 * 256 * 16 + 2 * 256**2
    once = 10 * 256 + 2 * layer + 256**2 + 256 * 3
    assert cost.has_statistics and 1.5 * once < cost.per_output_pixel < 2 * once


class OneConvolution:
    def build(self, channels):
        encoder = nn.Conv2d(channels, 5, 3, padding=1, groups=1)
        encoder.radius = 1
        return encoder


def test_one_convolution():
    cost = encoder_cost(OneConvolution())
    assert (cost.parameters, cost.per_input_pixel, cost.radius) == (27 * 5 + 5, 27 * 5, 1)
