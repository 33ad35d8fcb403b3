"""The flow of LINF and its noise."""

import pytest
import torch
from helpers.small_models import small

from liif.core.sizes import Window
from liif.models.decoders.linf import forward_flow, inverse_flow, pixel_noise
from liif.models.field import bilinear
from liif.models.foreign.linf import from_linf


def test_the_flow_is_inverted():
    """The forward direction, as in the paper: x -> W·x + b, then scale and shift, for each step."""
    g = torch.Generator().manual_seed(0)
    matrices = torch.eye(3) + 0.1 * torch.randn(5, 3, 3, generator=g)
    biases, numbers = torch.randn(5, 3, generator=g), torch.randn(7, 24, generator=g)
    x = colour = torch.randn(7, 3, generator=g)
    for i in range(4):
        x = x @ matrices[i].T + biases[i]
        x = x * (torch.sigmoid(numbers[:, 6 * i : 6 * i + 3] + 2) + 1e-4)
        x = x + numbers[:, 6 * i + 3 : 6 * i + 6]
    z = x @ matrices[4].T + biases[4]
    linear = tuple((m.inverse(), b) for m, b in zip(matrices, biases, strict=True))
    torch.testing.assert_close(inverse_flow(z, numbers, linear), colour, atol=1e-4, rtol=0)


def test_noise_is_normal_and_without_patterns():
    pixel = torch.cartesian_prod(torch.arange(200), torch.arange(100))
    noise = pixel_noise(pixel, 3, seed=5).T
    assert noise.mean(dim=1).abs().max() < 0.03 and (noise.std(dim=1) - 1).abs().max() < 0.02
    assert (noise.abs() < 1).float().mean() == pytest.approx(0.6827, abs=0.005)
    image = noise.view(3, 200, 100)
    parts = [image[:, 1:].reshape(3, -1), image[:, :-1].reshape(3, -1)]
    for first, second in [parts, (image[..., 1:], image[..., :-1]), (image[0], image[1])]:
        assert (first * second).mean().abs() < 0.03
    other = pixel_noise(pixel, 3, seed=6).T
    assert (other * noise).mean().abs() < 0.02


def test_samples_are_the_same_in_tiles_and_windows():
    model = small("swinir", "linf", temperature=0.5, seed=3).eval()
    lr, size = torch.rand(1, 3, 36, 17), (72, 51)
    whole = model.upscale(lr, size, clamp=False)
    assert (whole - small("swinir", "linf").eval().upscale(lr, size, clamp=False)).std() > 0.1
    tiled = torch.cat([strip for _, strip in model.strips(lr, size, memory=1)], dim=2)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)
    part = model.upscale(lr, (20, 30), window=Window(12, 5, 10, 10), clamp=False)
    torch.testing.assert_close(part, whole[..., 24:44, 15:45], atol=1e-4, rtol=0)


def test_unknown_switches_are_refused():
    with pytest.raises(ValueError, match="patch_size: 3 is an unknown switch of the model 'linf'"):
        from_linf("linf", {"encoder_spec": {"name": "rdn"}, "patch_size": 3}, {})


def test_the_likelihood_is_that_of_the_inverse():
    """log p(x) = log p(z) - log |det dx/dz|, with the derivative of the way from noise to colours,
    which the outputs of the official code test."""
    model = small(decoder="linf").eval()
    lr, coord, cell = (
        torch.rand(1, 3, 5, 6),
        torch.rand(1, 4, 2) * 2 - 1,
        torch.full((1, 1, 2), 0.1),
    )
    target = torch.rand(1, 4, 3)
    with torch.no_grad():
        field, decoder = model.encode(lr), model.decoder
        found = decoder.log_likelihood(field, coord, cell, target)[0]
        numbers = decoder.flow_numbers(field, coord, cell)[0]
        linear = field.layers[len(decoder.mlp.linear) :]
        base = bilinear(field, *coord.unbind(-1))[0]
        weights = [(step.weight, step.bias) for step in decoder.linear]
        noise, _ = forward_flow(target[0] - base, numbers, weights)
        torch.testing.assert_close(inverse_flow(noise, numbers, linear) + base, target[0])
    normal = torch.distributions.Normal(0.0, 1.0)
    for z, one, logarithm in zip(noise, numbers, found, strict=True):
        slope = torch.autograd.functional.jacobian(lambda z, n=one: inverse_flow(z, n, linear), z)
        expected = normal.log_prob(z).sum() - slope.det().abs().log()
        torch.testing.assert_close(logarithm, expected, atol=1e-4, rtol=1e-5)
