"""PSNR and SSIM against written-out rules and scikit-image."""

import math
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from liif.evaluation import perceptual
from liif.evaluation.metrics import luma, psnr, ssim
from liif.evaluation.protocols import get_protocol


def images(size=(40, 50), seed=0):
    rng = np.random.default_rng(seed)
    hr = rng.random((3, *size), dtype=np.float32)
    sr = np.clip(hr + rng.normal(0, 0.05, hr.shape), 0, 1).astype(np.float32)
    return torch.from_numpy(sr), torch.from_numpy(hr)


def test_none_is_plain_psnr():
    sr, hr = images()
    error = np.mean((sr.numpy().astype(np.float64) - hr.numpy()) ** 2)
    assert psnr(sr, hr, get_protocol("none", (2, 2))) == pytest.approx(10 * math.log10(1 / error))


def test_div2k_is_rgb_without_scale_plus_6_pixels():
    sr, hr = images()
    a, b = sr.numpy()[:, 9:-9, 9:-9], hr.numpy()[:, 9:-9, 9:-9]
    expected = -10 * math.log10(np.mean((a.astype(np.float64) - b) ** 2))
    assert psnr(sr, hr, get_protocol("div2k", (3, 3))) == pytest.approx(expected, abs=1e-5)


def test_benchmark_is_luma_without_scale_pixels():
    sr, hr = images()
    difference = (sr.numpy().astype(np.float64) - hr.numpy())[:, 3:-3, 3:-3]
    y = np.tensordot([65.738, 129.057, 25.064], difference, axes=1) / 256
    expected = -10 * math.log10(np.mean(y**2))
    assert psnr(sr, hr, get_protocol("benchmark", (3, 3))) == pytest.approx(expected, abs=1e-5)


def test_the_published_example_of_one_grey_level():
    """One 8-bit step everywhere: 48.1308036 dB."""
    hr = torch.zeros(3, 20, 20)
    assert psnr(hr + 1 / 255, hr, get_protocol("none", (1, 1))) == pytest.approx(
        48.1308036, abs=1e-5
    )


def test_equal_images_are_infinitely_good():
    sr, _ = images()
    for name in ("div2k", "benchmark", "none"):
        assert psnr(sr, sr, get_protocol(name, (2, 2))) == math.inf
        assert ssim(sr, sr, get_protocol(name, (2, 2))) == pytest.approx(1)


@given(y=st.floats(0.5, 30), x=st.floats(0.5, 30))
def test_borders_are_rounded_up_per_axis(y, x):
    assert get_protocol("benchmark", (y, x)).border == (math.ceil(y), math.ceil(x))
    assert get_protocol("div2k", (y, x)).border == (math.ceil(y) + 6, math.ceil(x) + 6)
    assert get_protocol("none", (y, x)).border == (0, 0)


def test_nothing_left_is_an_error_and_not_nan():
    sr, hr = images((20, 50))
    assert math.isfinite(psnr(sr, hr, get_protocol("div2k", (3, 3))))
    with pytest.raises(ValueError, match="20×50 px"):
        psnr(sr, hr, get_protocol("div2k", (4, 4)))


def test_ssim_of_rgb():
    sr, hr = images()
    expected = structural_similarity(
        sr.numpy().astype(np.float64),
        hr.numpy().astype(np.float64),
        channel_axis=0,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(sr, hr, get_protocol("none", (2, 2))) == pytest.approx(expected, abs=1e-6)


def test_ssim_of_luma():
    sr, hr = images()
    protocol = get_protocol("benchmark", (2, 2))
    a, b = ((luma(x)[0] + 16 / 256).double().numpy()[2:-2, 2:-2] for x in (sr, hr))
    expected = structural_similarity(
        a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(sr, hr, protocol) == pytest.approx(expected, abs=1e-6)


def test_ssim_needs_a_whole_window():
    sr, hr = images((10, 30))
    assert math.isnan(ssim(sr, hr, get_protocol("none", (2, 2))))
    sr, hr = images((11, 30))
    assert 0 < ssim(sr, hr, get_protocol("none", (2, 2))) < 1


def test_lpips_runs_in_float32_without_tf32(monkeypatch):
    within = []

    @contextmanager
    def precision_context(device, precision):
        within.append((device.type, precision))
        yield
        within.clear()

    class Network(torch.nn.Module):
        def forward(self, a, b):
            assert within == [("cpu", "float32")] and a.shape == (1, 3, 36, 46)
            return (a - b).abs().mean()

    package = SimpleNamespace(LPIPS=lambda net, verbose: Network())
    monkeypatch.setitem(__import__("sys").modules, "lpips", package)
    monkeypatch.setattr(perceptual, "precision_context", precision_context)
    score = perceptual.lpips_score(torch.device("cpu"))
    sr, hr = images()
    difference = (sr - hr).abs()[:, 2:-2, 2:-2].mean().item()
    assert score(sr, hr, get_protocol("benchmark", (2, 2))) == pytest.approx(2 * difference)
    assert within == []
