"""A part of the continuous image, at sub-pixel places, is the same function as the whole."""

from dataclasses import replace

import pytest
import torch
from helpers.small_models import every_model, small

from liif.core.errors import UserError
from liif.core.sizes import Window
from liif.inference.predict import InferenceOptions, predict_strips
from liif.models.geometry import grid_coord

LR = torch.rand(2, 3, 13, 18, generator=torch.Generator().manual_seed(1))
WINDOW = Window(3.25, 5.6, 4.7, 9.1)


@every_model
def test_a_window_is_the_function_at_its_own_pixels(encoder, decoder):
    """Coordinates and cell written down once more, from their definition."""
    model = small(encoder, decoder).eval()
    found = model.upscale(LR, (19, 28), window=WINDOW, clamp=False)
    y = 2 * (3.25 + (torch.arange(19.0) + 0.5) * 4.7 / 19) / 13 - 1
    x = 2 * (5.6 + (torch.arange(28.0) + 0.5) * 9.1 / 28) / 18 - 1
    cell = torch.tensor([[2 * 4.7 / (13 * 19), 2 * 9.1 / (18 * 28)]])
    with torch.inference_mode():
        shared = model.statistics(LR, (19, 28), window=WINDOW)
        field = replace(model.encode(LR), shared=shared)
        points = model.query(field, grid_coord(y, x).expand(2, -1, -1), cell.expand(2, 2))
    # A coordinate on the border of two codes may round to either: a few points at most.
    away = (found - points.transpose(1, 2).unflatten(2, (19, 28))).abs().amax(dim=1)
    assert (away > 1e-5).float().mean() < 0.01


def test_a_window_on_whole_pixels_is_cut_from_the_whole():
    model = small().eval()
    whole = model.upscale(LR, scale=4, clamp=False)
    part = model.upscale(LR, scale=4, window=Window(2, 5, 3, 7), clamp=False)
    assert part.shape == (2, 3, 12, 28)
    torch.testing.assert_close(part, whole[..., 8:20, 20:48], atol=1e-5, rtol=0)
    everywhere = model.upscale(LR, scale=4, window=Window(0, 0, 13, 18), clamp=False)
    torch.testing.assert_close(everywhere, whole, atol=1e-5, rtol=0)


def test_windows_come_in_tiles_and_strips():
    lr = torch.rand(1, 3, 90, 70)
    model = small().eval()
    window = Window(10.5, 3.2, 70.1, 60.6)
    whole = model.upscale(lr, (101, 163), window=window, clamp=False, memory=2**40)
    strips = list(model.strips(lr, (101, 163), window=window, memory=1))
    assert len(strips) == 3
    tiled = torch.cat([strip for _, strip in strips], dim=2)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


def test_only_the_window_and_its_surroundings_are_encoded(monkeypatch):
    model, seen = small().eval(), []
    encode = model.encode_frame
    monkeypatch.setattr(model, "encode_frame", lambda lr: seen.append(lr.shape[2:]) or encode(lr))
    lr = torch.rand(1, 3, 200, 300)
    model.upscale(lr, (8, 8), window=Window(100.5, 150.5, 2, 3))
    assert seen == [(3 + 2 * model.halo, 4 + 2 * model.halo)]


@every_model
@pytest.mark.parametrize("window", [None, WINDOW, Window(12.9, 17.9, 0.05, 0.05)], ids=str)
def test_encoded_once_and_looked_at_often(encoder, decoder, window):
    model = small(encoder, decoder).eval()
    if model.decoder.has_statistics and window is not None and window.height < 1:
        pytest.skip("the whole image at this size of pixels has 65 million of them")
    field = replace(model.encoded(LR), shared=model.statistics(LR, (31, 27), window=window))
    expected = model.upscale(LR, (31, 27), window=window, clamp=False)
    found = model.rendered(field, (31, 27), window=window)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    rows = model.rendered(field, (31, 27), window=window, rows=(10, 21))
    torch.testing.assert_close(rows, expected[:, :, 10:21], atol=1e-5, rtol=0)


def test_encoded_in_bf16():
    model = small().eval()
    field = model.encoded(LR, precision="bf16!")
    assert field.codes.dtype == torch.bfloat16
    found = model.rendered(field, (31, 27), window=WINDOW)
    expected = model.upscale(LR, (31, 27), window=WINDOW, clamp=False)
    assert found.dtype == torch.float32 and (found - expected).abs().max() < 0.05


@pytest.mark.parametrize(
    "options",
    [
        InferenceOptions(self_ensemble=True),
        InferenceOptions(rotation_ensemble=True),
        InferenceOptions(lanczos_from=2),
        InferenceOptions(engine="reference"),
    ],
    ids=str,
)
def test_options_without_strips_refuse_a_window(options):
    with pytest.raises(UserError, match="a part of an image"):
        list(predict_strips(small().eval(), LR[0], (4, 4), options, window=WINDOW))


def test_invalid_windows():
    with pytest.raises(ValueError, match="not inside"):
        small().upscale(LR, (4, 4), window=Window(10, 0, 4, 4))
