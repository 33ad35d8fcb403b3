"""The baselines without a network for a pixel."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.small_models import small
from PIL import Image

from liif.core.sizes import Window


def without_residual(**options):
    model = small(decoder="bilinear", **options).eval()
    for parameter in model.decoder.parameters():
        parameter.data.zero_()
    return model


def test_bicubic_is_that_of_pillow_inside_the_edge():
    lr = torch.rand(1, 3, 12, 15)
    found = without_residual(kernel="bicubic").upscale(lr, (40, 51), clamp=False)[0]
    for plane, expected in zip(found, lr[0], strict=True):
        image = Image.fromarray(expected.numpy()).resize((51, 40), Image.Resampling.BICUBIC)
        inside = np.s_[7:-7, 7:-7]  # Pillow leaves out what lies beyond the edge
        np.testing.assert_allclose(plane.numpy()[inside], np.asarray(image)[inside], atol=1e-5)


def test_bilinear_is_that_of_pytorch():
    lr = torch.rand(1, 3, 12, 15)
    found = without_residual().upscale(lr, (40, 51), clamp=False)
    expected = F.interpolate(lr, (40, 51), mode="bilinear")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
def test_a_constant_image_stays_constant(kernel):
    """At the edge, too: the weights sum to one everywhere."""
    found = without_residual(kernel=kernel).upscale(torch.full((1, 3, 5, 4), 0.3), (31, 17))
    torch.testing.assert_close(found, torch.full((1, 3, 31, 17), 0.3))


def test_bicubic_in_tiles_and_windows():
    model = small(decoder="bilinear", kernel="bicubic").eval()
    lr, size = torch.rand(1, 3, 36, 17), (72, 51)
    whole = model.upscale(lr, size, clamp=False)
    tiled = torch.cat([strip for _, strip in model.strips(lr, size, memory=1)], dim=2)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)
    part = model.upscale(lr, (20, 30), window=Window(12, 5, 10, 10), clamp=False)
    torch.testing.assert_close(part, whole[..., 24:44, 15:45], atol=1e-4, rtol=0)
