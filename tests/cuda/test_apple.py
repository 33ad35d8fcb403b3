"""A device without float64, such as Apple's GPUs: the pretend one, told to have none."""

import copy

import pytest
import torch
from helpers.gpu import assert_alike
from helpers.pretend import IS_PRETEND
from helpers.pretend_tensor import gpu
from helpers.small_models import every_model, small
from helpers.training import config

from liif.core.distributed import Team
from liif.training.train import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not IS_PRETEND, reason="needs the pretend device"),
]


@pytest.fixture(autouse=True)
def _without_float64():
    gpu.has_float64 = False


def test_it_has_none(device):
    with pytest.raises(TypeError, match="float64"):
        torch.ones(3, device=device).double()
    with pytest.raises(TypeError, match="float64"):
        torch.arange(3, device=device, dtype=torch.float64)


@every_model
def test_images(encoder, decoder, device):
    plain = small(encoder, decoder).eval()
    model = copy.deepcopy(plain).to(device)
    lr, size, window = torch.rand(1, 3, 6, 7), (8, 9), (1.5, 2.0, 3.25, 4.0)
    expected = plain.upscale(lr, size, window=window, clamp=False)
    assert_alike(model.upscale(lr, size, window=window, clamp=False), expected)


def test_training(learnable, tmp_path, device):
    valid = {"images": str(learnable), "scales": [2], "crop": 32, "limit": 1}
    chosen = config(learnable, steps=2, batch_size=2, ema=0.9, clip_gradient=0.1, valid=valid)
    assert train(chosen, tmp_path, team=Team(device=device))
