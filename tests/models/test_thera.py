"""Thera, beside a computation of its formulas in NumPy."""

import math

import numpy as np
import pytest
import torch
from helpers.small_models import small

from liif.models.build import ModelConfig, build_model
from liif.models.geometry import cell_of, grid_coord, pixel_centres

PLUS = {"name": "thera", "hidden": 512, "tail": [[6, 64], [7, 96], [3, 128]]}


def dense(x, layer):
    return x @ layer["weight"].T + layer["bias"]


def normalised(x, layer):
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    return centred / scale * layer["weight"] + layer["bias"]


def block(x, layers):
    """A ConvNeXt block of x (h, w, C)."""
    h, w = x.shape[:2]
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    kernel = layers["conv"]["weight"][:, 0]
    places = [(i, j) for i in range(3) for j in range(3)]
    inner = sum(padded[i : i + h, j : j + w] * kernel[:, i, j] for i, j in places)
    inner = dense(normalised(inner, layers["norm"]), layers["fc1"])
    inner = inner / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
    return x + dense(inner, layers["fc2"])


def nested(state):
    found = {}
    for key, value in state.items():
        *path, last = key.split(".")
        at = found
        for name in path:
            at = at.setdefault(name, {})
        at[last] = value.double().numpy()
    return found


@pytest.mark.parametrize("size", [(7, 11), (13, 10)])
def test_the_formulas(size):
    model, lr = small(decoder="thera", bandwidth=20).eval(), torch.rand(1, 3, 4, 6)
    layers = nested(model.decoder.state_dict())
    y, x = (pixel_centres(n, lr) for n in size)
    with torch.no_grad():
        feat = model.encoder(lr * 2 - 1)[0].permute(1, 2, 0).double().numpy()
        rgb = model(lr, grid_coord(y, x)[None], cell_of(size, lr))[0].double().numpy()
    tail = layers["tail"]
    feat = block(feat, tail["0"])
    feat = block(dense(normalised(feat, tail["1"]), tail["2"]), tail["3"])
    out = layers["out_conv"]
    numbers = feat @ out["weight"][:, :, 0, 0].T + out["bias"]
    W, k = layers["components"], layers["k"]
    damping = np.exp(-(W**2).sum(axis=0) * k * (size[0] / 4) ** -2)
    for i, colour in enumerate(rgb):
        at = [((p + 0.5) * n / N) for p, n, N in zip(divmod(i, size[1]), (4, 6), size, strict=True)]
        row, col = (round(a - 0.5) for a in at)
        offset = np.array([at[0] - row - 0.5, at[1] - col - 0.5])
        waves = np.sin(offset @ W + numbers[row, col, 24:]) * damping
        expected = waves @ numbers[row, col, :24].reshape(8, 3) / 2
        pixel = lr[0, :, row, col].double().numpy()
        np.testing.assert_allclose(colour, expected + pixel, atol=3e-6)


def test_sizes_are_the_published_ones():
    """Parameters beyond the encoder: Air 8,385, Plus 1.41 M."""
    counts = []
    for decoder in ({"name": "thera"}, PLUS):
        config = ModelConfig(encoder={"name": "edsr-baseline"}, decoder=decoder)
        counts.append(sum(p.numel() for p in build_model(config).decoder.parameters()))
    assert counts[0] == 8385 and counts[1] == pytest.approx(1.41e6, rel=0.004)


def test_frequencies_fill_a_disc():
    config = ModelConfig(encoder={"name": "edsr-baseline"}, decoder=PLUS)
    radius = build_model(config).decoder.components.norm(dim=0) / (16 * math.pi)
    assert radius.max() <= 1 and (radius < 0.5**0.5).float().mean() == pytest.approx(0.5, abs=0.1)
