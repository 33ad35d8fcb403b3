"""The four bicubic degradations against what MATLAB, Pillow and PyTorch published or compute."""

import hashlib
import json

import numpy as np
import pytest
import torch
from helpers.paths import SHARED
from helpers.pictures import texture
from PIL import Image
from torchvision.transforms.v2.functional import resize as torchvision_resize

from liif.data.degradations.bicubic import BicubicConfig
from liif.data.pairs import open_pairs
from liif.images.resize import matlab_bicubic
from liif.images.rgb8 import read_image

RNG = np.random.default_rng()

# Double, published in the tests of github.com/sanghyun-son/bicubic_pytorch: (H, W, h, w).
R2019B = {
    (4, 4, 3, 3): [
        [0.75055187638, 2.100441501104, 3.450331125828],
        [6.150110375276, 7.5, 8.849889624724],
        [11.549668874172, 12.899558498896, 14.24944812362],
    ],
    (8, 8, 3, 4): [
        [6.47252877331, 8.51159127331, 10.53502877331, 12.57409127331],
        [28.44921875, 30.48828125, 32.51171875, 34.55078125],
        [50.42590872669, 52.46497122669, 54.48840872669, 56.52747122669],
    ],
}


def reduced(image, size, flavour):
    return BicubicConfig(flavour=flavour).apply(image, size, RNG)


@pytest.mark.parametrize("sides", R2019B, ids=str)
def test_matlab_today_equals_matlab(sides):
    H, W, h, w = sides
    image = np.arange(H * W, dtype=float).reshape(H, W, 1)
    ours = matlab_bicubic(image, (h, w), border="mirror")[..., 0]
    np.testing.assert_allclose(ours, R2019B[sides], atol=1e-11)
    as_float32 = reduced((image / 255).astype(np.float32), (h, w), "matlab")
    np.testing.assert_allclose(as_float32[..., 0] * 255, R2019B[sides], atol=2e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_matlab_2014_equals_published_images(benchmark_data, scale):
    """Through `valid` and `test`: an evaluation set that is reduced is the published one."""
    folder = benchmark_data / "benchmark" / "Set5"
    made = open_pairs(
        folder / "HR", scale=(scale, scale), degradation=BicubicConfig(flavour="matlab-2014")
    )
    given = open_pairs(folder / "HR", scale=(scale, scale), lr=folder / "LR_bicubic" / f"X{scale}")
    for ours, published in zip(made, given, strict=True):
        assert np.array_equal(ours.lr, published.lr) and np.array_equal(ours.hr, published.hr)
    first = next(iter(made))
    assert not np.array_equal(first.lr, reduced(first.hr, first.lr.shape[:2], "matlab"))


def test_sums_of_weights_are_in_matlabs_order(benchmark_data):
    """At scales that are not whole, by hashes of images made with sums in MATLAB's order."""
    path = SHARED / "metrics" / "lr_hashes.json"
    if not path.exists():
        pytest.skip("needs LIIF_SHARED")
    known = json.loads(path.read_text())["lr"]
    for name in ("butterfly", "bird"):
        hr = read_image(benchmark_data / "benchmark" / "Set5" / "HR" / f"{name}.png")
        for scale in (1.5, 2.5, 3.7):
            for border in ("replicate", "mirror"):
                (h, w, _), digest = known[f"{name} x{scale:g}"][f"arbsr {border} columns"]
                crop = hr[: round(h * scale), : round(w * scale)]
                ours = matlab_bicubic(crop, (h, w), border=border)
                assert hashlib.sha256(ours.tobytes()).hexdigest() == digest, (name, scale)


def test_torch_equals_torchvision():
    image = texture(61, 47)
    for size in [(20, 17), (61, 47), (33, 12)]:
        planes = torch.from_numpy(image).permute(2, 0, 1).float()
        theirs = torchvision_resize(planes, list(size), 3, antialias=True).round().clamp(0, 255)
        assert np.array_equal(reduced(image, size, "torch"), theirs.permute(1, 2, 0).byte())


def test_pillow_is_pillow():
    image = texture(61, 47)
    theirs = Image.fromarray(image).resize((17, 20), Image.Resampling.BICUBIC)
    assert np.array_equal(reduced(image, (20, 17), "pillow"), np.asarray(theirs))


def test_flavours_differ():
    image = texture(64, 64)
    made = [reduced(image, (25, 25), f) for f in ("pillow", "matlab-2014", "matlab", "torch")]
    for i, one in enumerate(made):
        for other in made[:i]:
            difference = np.abs(one.astype(int) - other)
            assert difference.max() > 0 and np.median(difference) <= 1
    inside = (slice(4, -4), slice(4, -4))
    assert np.array_equal(made[1][inside], made[2][inside])  # MATLAB's differ at the border only
