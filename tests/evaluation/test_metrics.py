"""PSNR and SSIM against written-out rules and scikit-image."""

import json
import math
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.paths import SHARED
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from liif.evaluation import perceptual
from liif.evaluation.metrics import luma, psnr, ssim
from liif.evaluation.protocols import ScoreProtocol, get_protocol
from liif.images.channels import PixelFormat, read_header, read_pixels
from liif.images.convert import to_tensor


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


def test_ssim_of_an_image_of_many_strips_on_several_threads():
    """A product of Gaussian windows written out, and the same number on any count of threads."""
    sr, hr = images((70, 90), seed=3)
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    maps = []
    for a, b in zip(sr.double().numpy(), hr.double().numpy(), strict=True):
        x, y = (np.lib.stride_tricks.sliding_window_view(each, (11, 11)) for each in (a, b))
        mean_x, mean_y = ((each * window).sum((2, 3)) for each in (x, y))
        x, y = x - mean_x[..., None, None], y - mean_y[..., None, None]
        var_x, var_y, covariance = ((i * window).sum((2, 3)) for i in (x * x, y * y, x * y))
        numerator = (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
        maps.append(numerator / ((mean_x**2 + mean_y**2 + 1e-4) * (var_x + var_y + 9e-4)))
    protocol = get_protocol("none", (2, 2))
    one = ssim(sr, hr, protocol)
    assert one == pytest.approx(np.mean(maps), abs=1e-12)
    torch.set_num_threads(3)
    try:
        assert ssim(sr, hr, protocol) == one
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("tool", "call", "metric", "luma", "tolerance"),
    [
        ("scikit-image", "peak_signal_noise_ratio(data_range=1)", psnr, False, 2e-6),
        ("Thera", "compute_metrics(y_only)", psnr, True, 5e-6),
        (
            "scikit-image",
            "structural_similarity(gaussian_weights,sigma=1.5,use_sample_covariance=False)",
            ssim, False, 1e-7,
        ),
        ("KAIR", "calculate_ssim(bgr2ycbcr*255)", ssim, True, 4e-6),  # weights of luma in 1/255
    ],
)  # fmt: skip
def test_the_numbers_of_other_tools(tool, call, metric, luma, tolerance):
    folder = SHARED / "metrics"
    if not (folder / "golden.json").is_file():
        pytest.skip("needs metrics/golden.json (set LIIF_SHARED)")
    golden = json.loads((folder / "golden.json").read_text())
    pairs = json.loads((folder / "pairs.json").read_text())
    number = [(each["tool"], each["call"]) for each in golden["calls"]].index((tool, call))
    rows = [row for row in golden["rows"] if row[1] == number][::3]  # a third takes half a second
    for i, _, is_8bit, shave, value, *_ in rows:
        pair, files = pairs[i], pairs[i]["files"]
        sr, hr = (
            to_tensor(read_pixels(path, PixelFormat(pair["channels"], read_header(path).bits)))
            for path in (folder / files["sr16"], folder / files["hr"])
        )
        if is_8bit:
            sr = (sr * 255 + 0.5).floor() / 255
        y, x = (math.ceil(s) + 6 * (shave == 2) if shave else 0 for s in pair["claimed_scale"])
        assert metric(sr, hr, ScoreProtocol(luma, (y, x))) == pytest.approx(value, abs=tolerance)
    assert len(rows) > 13


def test_only_the_result_leaves_the_device(monkeypatch):
    """A tensor on `meta` has no values to copy, and mixes with no tensor of another device."""
    asked = []
    monkeypatch.setattr(torch.Tensor, "item", lambda tensor: asked.append(tensor) or 0.5)
    sr, hr = (torch.empty(3, 300, 320, device="meta") for _ in range(2))
    for name in ("div2k", "benchmark", "none"):
        for metric in (psnr, ssim):
            metric(sr, hr, get_protocol(name, (2, 2)))
    assert len(asked) == 6  # one value for each call
    assert all(value.device.type == "meta" and value.shape == () for value in asked)
    assert {value.dtype for value in asked[1::2]} == {torch.float64}


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
