"""Thera, beside a computation of its formulas in NumPy."""

import math

import numpy as np
import pytest
import torch
from helpers.small_models import every_encoder, small

from liif.core.errors import UserError
from liif.core.sizes import Window
from liif.data.loader import Batch
from liif.hub.export import graphs
from liif.models.build import ModelConfig, build_model
from liif.models.decoders.thera import mirrored
from liif.models.geometry import cell_of, grid_coord, pixel_centres
from liif.training.step import train_step

PLUS = {"name": "thera", "hidden": 512, "tail": [[6, 64], [7, 96], [3, 128]]}
PRO = {"name": "thera", "hidden": 512, "swin": {"depths": [7, 6]}}
SMALL_SWIN = {"embedding": 12, "depths": (2, 1), "heads": 2, "window": 6, "drop_path": 0.0}


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
    """Parameters beyond the encoder: Air 8,385, Plus 1.41 M, Pro 4.63 M; those of the official
    code, counted there, are 1,228,801, 2,633,569 and 5,851,115 with EDSR's 1,220,416."""
    counts = []
    for decoder in ({"name": "thera"}, PLUS, PRO):
        config = ModelConfig(encoder={"name": "edsr-baseline"}, decoder=decoder)
        counts.append(sum(p.numel() for p in build_model(config).decoder.parameters()))
    assert [count + 1_220_416 for count in counts] == [1_228_801, 2_633_569, 5_851_115]


def test_frequencies_fill_a_disc():
    config = ModelConfig(encoder={"name": "edsr-baseline"}, decoder=PLUS)
    radius = build_model(config).decoder.components.norm(dim=0) / (16 * math.pi)
    assert radius.max() <= 1 and (radius < 0.5**0.5).float().mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("side", [2, 4, 8])
def test_features_are_mirrored_as_numpy_does(side):
    x = torch.rand(1, 2, 5, 1)
    h, w = (-(-n // side) * side for n in (5, 1))
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (0, h - 5), (0, 0)), mode="reflect")
    expected = np.repeat(expected, w, axis=3)
    np.testing.assert_array_equal(mirrored(x, side).numpy(), expected)


@every_encoder
def test_attention_in_windows_is_the_same_in_tiles(encoder):
    """Windows of 6 behind an encoder with windows of 4, too, and images of no whole windows."""
    model = small(encoder, "thera", tail=(), swin=SMALL_SWIN).eval()
    for parameter in model.parameters():
        parameter.data *= 1.3
    lr, size = torch.rand(1, 3, 93, 35), (122, 83)
    whole = model.upscale(lr, size, clamp=False, memory=2**40)
    strips = [strip for _, strip in model.strips(lr, size, memory=1)]
    assert len(strips) == (1 if model.halo is None else 3)
    scale = max(1, whole.abs().max())
    torch.testing.assert_close(torch.cat(strips, dim=2), whole, atol=2e-5 * scale, rtol=0)
    part = model.upscale(lr, (22, 30), window=Window(60, 5, 11, 15), clamp=False)
    all_of_it = model.upscale(lr, (186, 70), clamp=False)
    torch.testing.assert_close(part, all_of_it[..., 120:142, 10:40], atol=1e-4 * scale, rtol=0)
    y, x = (pixel_centres(n, lr) for n in size)
    with torch.inference_mode():
        points = model(lr, grid_coord(y, x)[None], cell_of(size, lr)[None])
    points = points.transpose(1, 2).unflatten(2, size)
    torch.testing.assert_close(points, whole, atol=2e-5 * scale, rtol=0)


def test_attention_in_windows_learns_and_is_not_exported():
    model = small(decoder="thera", tail=(), swin=SMALL_SWIN).train()
    batch = Batch(
        torch.rand(2, 3, 9, 7), torch.rand(2, 40, 2) * 2 - 1, torch.rand(2, 2), torch.rand(2, 40, 3)
    )
    train_step(model, torch.optim.Adam(model.parameters()), batch, learning_rate=1e-3)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    with pytest.raises(UserError, match="attention in windows cannot be exported"):
        graphs(model)
