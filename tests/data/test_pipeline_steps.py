"""The steps of a pipeline, each against an independent reference; and the published presets."""

import io
import math

import numpy as np
import pytest
from helpers.pictures import texture
from PIL import Image
from scipy.signal import convolve2d
from scipy.special import j1

from liif.data.degradations import bsrgan, kernels, real_esrgan
from liif.data.degradations.blur import BlurConfig, KernelWeights, convolve
from liif.data.degradations.compression import JpegConfig, WebpConfig
from liif.data.degradations.noise import NoiseConfig
from liif.data.degradations.pipeline import PipelineConfig
from liif.data.degradations.rescale import ReduceConfig, ResizeConfig
from liif.data.degradations.step import Goal

GOAL = Goal((20, 24), 3.0)


def planes(height=60, width=72, seed=0):
    return texture(height, width, seed).transpose(2, 0, 1).astype(np.float32) / 255


def rng(number=0):
    return np.random.default_rng(number)


# Blur


def moments(kernel):
    """Sum, centre and covariance of a kernel as a distribution over (x, y)."""
    at = np.arange(len(kernel)) - len(kernel) // 2
    x, y = np.meshgrid(at, at)
    mean = [(kernel * axis).sum() for axis in (x, y)]
    second = [[(kernel * a * b).sum() for b in (x, y)] for a in (x, y)]
    return kernel.sum(), mean, np.array(second)


ALL_KERNELS = [
    kernels.gaussian(21, (1.5, 1.5)),
    kernels.gaussian(7, (2.0, 0.7), 0.4),
    kernels.generalised_gaussian(15, (2.0, 1.0), 2.0, 0.5),
    kernels.plateau(13, (2.0, 1.0), 1.0, 2.0),
    kernels.sinc(21, 1.2),
    kernels.sinc(7, math.pi),
    kernels.gaussian(1, (1.0, 1.0)),
    kernels.gaussian(7, (1e-3, 1e-3)),
]


@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_kernels_sum_to_one_and_are_centred(kernel):
    total, mean, _ = moments(kernel)
    assert total == pytest.approx(1) and mean == pytest.approx([0, 0], abs=1e-12)
    assert np.allclose(kernel, kernel[::-1, ::-1])


def test_covariance_of_the_anisotropic_gaussian():
    """Σ = R diag(σ²) Rᵀ, with the first axis `angle` from the horizontal."""
    for angle in (0, 0.3, 1.2, 2.5):
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        expected = turn @ np.diag([3.0**2, 1.5**2]) @ turn.T
        np.testing.assert_allclose(
            moments(kernels.gaussian(51, (3.0, 1.5), angle))[2], expected, atol=1e-6
        )


def test_relatives_of_the_gaussian():
    one = kernels.generalised_gaussian(21, (2, 1), 0.3, 1.0)
    np.testing.assert_allclose(one, kernels.gaussian(21, (2, 1), 0.3))
    x = np.arange(-10, 11)
    row = kernels.generalised_gaussian(21, (2, 2), 0, 3.0)[10]
    np.testing.assert_allclose(row / row[10], np.exp(-0.5 * (x**2 / 4.0) ** 3))
    row = kernels.plateau(21, (2, 2), 0, 1.5)[10]
    np.testing.assert_allclose(row / row[10], 1 / (1 + (x**2 / 4.0) ** 1.5))


def test_the_sinc_is_a_low_pass_of_its_cutoff():
    kernel = kernels.sinc(201, 1.5)
    x = np.arange(1, 101)
    row = kernel[100, 101:] / kernel[100, 100]
    np.testing.assert_allclose(row, 2 * j1(1.5 * x) / (1.5 * x), atol=1e-6)
    response = np.abs(np.fft.fft2(kernel))[0]
    frequency = 2 * math.pi * np.fft.fftfreq(201)
    assert (response[np.abs(frequency) < 1.2] > 0.9).all()
    assert (response[np.abs(frequency) > 1.8] < 0.1).all()


@pytest.mark.parametrize("size", [(30, 41), (5, 6), (1, 1)])
def test_convolution_equals_scipy(size):
    image, kernel = planes(*size), kernels.gaussian(9, (2.0, 0.8), 0.5)
    r = len(kernel) // 2
    for ours, plane in zip(convolve(image, kernel), image, strict=True):
        padded = np.pad(plane, r, mode="reflect")
        np.testing.assert_allclose(ours, convolve2d(padded, kernel, mode="valid"), atol=2e-6)


def drawn(step, count=150, image=None):
    image = planes(8, 8) if image is None else image
    return [step.apply(image, GOAL, rng(n))[1] for n in range(count)]


def test_every_kind_of_kernel_is_drawn_as_often_as_asked():
    weights = {kind: i + 1 for i, kind in enumerate(KernelWeights.model_fields)}
    notes = drawn(BlurConfig(kernels=KernelWeights(**weights), size=(3, 3)), 560)
    for kind, weight in weights.items():
        count = sum(note.rpartition(" ")[0] == kind.replace("_", " ") for note in notes)
        assert abs(count - 20 * weight) < 4 * math.sqrt(20 * weight)


def test_sigma_depends_on_the_scale_and_may_be_a_variance():
    step = BlurConfig(sigma=(0.5, 1.0), sigma_per_scale=0.5)
    values = [float(note.split()[-1]) for note in drawn(step, image=planes(2, 2))]
    assert min(values) == 0.5 and max(values) == 2.5  # 1 + 0.5 · 3
    values = [float(note.split()[-1]) for note in drawn(BlurConfig(sigma=(4, 9), variance=True))]
    assert min(values) == 2 and max(values) == 3


# Resize


def sizes(step, image=None, count=200):
    image = planes() if image is None else image
    return np.array([step.apply(image, GOAL, rng(n))[0].shape[1:] for n in range(count)])


def test_factors_are_those_of_the_range():
    step = ResizeConfig(factor=(0.2, 1.5), up=0.3, down=0.5)
    factors = sizes(step)[:, 0] / 60
    assert factors.min() == pytest.approx(0.2, abs=0.02)
    assert factors.max() == pytest.approx(1.5, abs=0.04)
    assert np.mean(factors > 1) == pytest.approx(0.3, abs=0.11)
    assert np.mean(factors < 1) == pytest.approx(0.5, abs=0.11)
    half = sizes(ResizeConfig(factor=(0.5, None), of="output"))
    assert half.min(axis=0).tolist() == [10, 12] and half.max(axis=0).tolist() == [60, 72]
    assert sizes(ResizeConfig(factor=(0.1, 1.0), least=1.5)).min(axis=0).tolist() == [30, 36]
    small = sizes(ResizeConfig(factor=(0.5, 0.5), least=2.0), planes(30, 36))
    assert (small == (30, 36)).all()  # already below twice the final size, and not enlarged


@pytest.mark.parametrize("kind", ["area", "bilinear", "bicubic", "antialiased", "nearest"])
@pytest.mark.parametrize("size", [(20, 24), (33, 50), (120, 72), (60, 72)])
def test_filters_keep_positions(kind, size):
    """A ramp stays the same ramp of the continuous picture, inside."""
    ramp = (np.arange(60)[:, None] + np.arange(72) * 2.0 + 10) / 255
    image = np.repeat(ramp[None], 3, axis=0).astype(np.float32)
    ours, _ = ReduceConfig(filters=(kind,)).apply(image, Goal(size, 3.0), rng())
    y, x = ((np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(size, (60, 72), strict=True))
    expected = (y[:, None] + x * 2 + 10) / 255
    steps = kind in ("area", "nearest")  # their pixels are whole ones
    error = np.abs(ours - expected)[:, 5:-5, 5:-5] * 255
    assert error.max() < (2.01 if steps else 0.15)
    assert error.mean() < (0.9 if steps else 0.08)
    assert abs((ours - expected)[:, 5:-5, 5:-5].mean()) * 255 < (0.3 if steps else 0.02)


def test_area_is_the_mean_of_blocks():
    image = planes()
    ours, _ = ReduceConfig(filters=("area",)).apply(image, GOAL, rng())
    np.testing.assert_allclose(ours, image.reshape(3, 20, 3, 24, 3).mean(axis=(2, 4)), atol=1e-6)


def test_the_sinc_after_the_resize():
    image = planes()
    step = ReduceConfig(filters=("area",), sinc=1, sinc_size=(21, 21), cutoff=(1, 1))
    plain, _ = ReduceConfig(filters=("area",)).apply(image, GOAL, rng())
    ours, note = step.apply(image, GOAL, rng())
    np.testing.assert_allclose(ours, convolve(plain, kernels.sinc(21, 1.0)), atol=1e-6)
    assert note.endswith("sinc 1.00")


# Noise


def noise_of(step, image, count=1):
    return np.array([step.apply(image, GOAL, rng(n))[0] - image for n in range(count)], float)


def test_gaussian_noise_has_its_variance():
    image = np.full((3, 200, 200), 0.5, np.float32)
    noise = noise_of(NoiseConfig(gaussian=(12, 12)), image)[0] * 255
    assert noise.std() == pytest.approx(12, rel=0.02) and abs(noise.mean()) < 0.2
    assert np.abs(np.corrcoef(noise.reshape(3, -1)) - np.eye(3)).max() < 0.03
    gray = noise_of(NoiseConfig(gaussian=(12, 12), gray=1), image)[0]
    assert np.abs(gray - gray[0]).max() < 1e-6 and gray.std() * 255 == pytest.approx(12, rel=0.02)


def test_correlated_noise_has_a_random_covariance():
    image = np.full((3, 100, 100), 0.5, np.float32)
    noise = noise_of(NoiseConfig(gaussian=(1, 10), correlated=1), image, 60) * 255
    covariances = np.array([np.cov(one.reshape(3, -1)) for one in noise])
    axes = np.linalg.eigvalsh(covariances).ravel() / 100
    assert axes.max() < 1.05 and axes.mean() == pytest.approx(0.5, abs=0.11)  # U(0, 1)
    assert np.abs(covariances[:, 0, 1]).mean() > 5


def test_poisson_noise_has_the_variance_of_counts():
    """Of v · photons counts: variance v / photons; photons = 256 for an image of all levels."""
    ramp = np.repeat(np.arange(256, dtype=np.float32)[:, None] / 255, 1000, axis=1)
    image = np.stack([ramp] * 3)
    step = NoiseConfig(poisson=(1, 1), poisson_share=1)
    noise = noise_of(step, image)[0]
    for level in (20, 100, 200):
        assert noise[:, level].var() == pytest.approx(level / 255 / 256, rel=0.08)
        assert abs(noise[:, level].mean()) < 0.004
    twice = noise_of(NoiseConfig(poisson=(2, 2), poisson_share=1), image)[0]
    assert twice[:, 60].std() == pytest.approx(2 * noise[:, 60].std(), rel=0.05)
    gray = noise_of(NoiseConfig(poisson=(1, 1), poisson_share=1, gray=1), image)[0]
    assert np.abs(gray - gray[0]).max() < 1e-6
    few = np.where(np.arange(2000) % 2, 0.25, 0.5).astype(np.float32) * np.ones((3, 50, 1), "f4")
    # Two levels, two photons at white: half of them, limited to white, are 0, 1 or 2 of mean 1.
    counts = np.array([1, 1, math.e - 2]) / math.e
    expected = counts @ np.array([0, 0.5, 1]) ** 2 - (counts @ np.array([0, 0.5, 1])) ** 2
    assert noise_of(step, few)[0][:, :, ::2].var() == pytest.approx(expected, rel=0.03)


# Compression


@pytest.mark.parametrize(("step", "form"), [(JpegConfig, "JPEG"), (WebpConfig, "WEBP")])
@pytest.mark.parametrize("channels", [3, 1])
def test_compression_equals_pillow_at_the_quality_drawn(step, form, channels):
    image, qualities = planes()[:channels], set()
    for number in range(40):
        ours, note = step(quality=(30, 40)).apply(image, GOAL, rng(number))
        quality = int(note.split()[1])
        qualities.add(quality)
        generator = rng(number)
        assert quality == generator.integers(30, 41)
        y, x = generator.integers(0, 16, 2)
        levels = np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8)
        levels = np.pad(levels, ((y, 0), (x, 0), (0, 0)), mode="edge")
        file = io.BytesIO()
        options = {"method": 0} if form == "WEBP" else {}
        Image.fromarray(levels.squeeze()).save(file, form, quality=quality, **options)
        back = np.asarray(Image.open(file).convert("RGB" if channels == 3 else "L"))
        back = back.reshape(*levels.shape)[y:, x:]
        np.testing.assert_allclose(ours.transpose(1, 2, 0) * 255, back, atol=1e-3)
    assert qualities == set(range(30, 41))


# Pipelines


def test_probabilities_of_steps_and_stages():
    steps = [{"name": "jpeg", "probability": 0.3}, {"name": "noise"}]
    stages = [{"steps": steps, "probability": 0.5}, {"steps": [{"name": "reduce"}]}]
    pipeline = PipelineConfig.model_validate({"stages": stages})
    notes = [pipeline.trace(texture(24, 24), (20, 24), rng(n))[1] for n in range(400)]
    assert sum("Gaussian" in " ".join(note) for note in notes) == pytest.approx(200, abs=40)
    assert sum("jpeg" in " ".join(note) for note in notes) == pytest.approx(60, abs=28)


def test_shuffled_orders_keep_that_of_resizes():
    steps = [{"name": "resize"}, {"name": "jpeg"}, {"name": "reduce"}, {"name": "noise"}]
    pipeline = PipelineConfig.model_validate({"stages": [{"steps": steps, "shuffle": True}]})
    orders = set()
    for number in range(120):
        small, notes = pipeline.trace(texture(24, 24), (11, 12), rng(number))
        kinds = ["r" if " x" in note else note[0] for note in notes]
        orders.add("".join(kinds))
        assert len(notes) == 4 and small.shape[:2] == (11, 12)  # reduce came last of the two
    assert len(orders) == 12  # 4! orders, of which those of the two resizes are one


def test_a_pipeline_without_reduce_ends_in_the_right_size():
    pipeline = PipelineConfig.model_validate({"stages": [{"steps": [{"name": "blur"}]}]})
    small, notes = pipeline.trace(texture(24, 24), (11, 12), rng())
    assert small.shape == (11, 12, 3) and notes[-1].startswith("antialiased")


# Presets, as published


def test_ranges_of_real_esrgan():
    """The options of train_realesrgan_x4plus.yml of github.com/xinntao/Real-ESRGAN."""
    blur, resize, noise, jpeg = real_esrgan.FIRST.steps
    weights = dict(blur.kernels)
    assert weights.pop("sinc") == 0.1 and blur.size == (7, 21) and blur.sigma == (0.2, 3)
    assert [w / 0.9 for w in weights.values()] == pytest.approx(
        [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
    )
    assert (blur.generalised_beta, blur.plateau_beta) == ((0.5, 4), (1, 2))
    assert (resize.factor, resize.up, resize.down) == ((0.15, 1.5), 0.2, 0.7)
    assert (noise.gaussian, noise.poisson) == ((1, 30), (0.05, 3))
    assert (noise.poisson_share, noise.gray, jpeg.quality) == (0.5, 0.4, (30, 95))
    blur, resize, noise = real_esrgan.SECOND.steps
    assert (blur.probability, blur.sigma, blur.size) == (0.8, (0.2, 1.5), (7, 21))
    assert (resize.factor, resize.up, resize.down, resize.of) == ((0.3, 1.2), 0.3, 0.4, "output")
    assert (noise.gaussian, noise.poisson, noise.gray) == ((1, 25), (0.05, 2.5), 0.4)
    reduce, jpeg = real_esrgan.LAST.steps
    assert real_esrgan.LAST.shuffle and (reduce.sinc, jpeg.quality) == (0.8, (30, 95))
    assert reduce.filters == resize.filters == ("area", "bilinear", "bicubic")


@pytest.mark.parametrize(("scale", "smallest"), [(4, 0.15), (8, 0.15), (2, 0.3), (1, 0.6)])
def test_real_esrgan_reduces_less_at_small_scales(scale, smallest):
    image = planes(160, 160)
    step, goal = real_esrgan.FIRST.steps[1], Goal((160 // scale,) * 2, float(scale))
    found = [step.apply(image, goal, rng(n))[0].shape[1] / 160 for n in range(150)]
    assert min(found) == pytest.approx(smallest, abs=0.02)
    assert max(found) == pytest.approx(1.5, abs=0.04)


def test_ranges_of_bsrgan():
    """Zhang et al. 2021, sec. 3: widths for x2 and x4, and the published code's probabilities."""
    one, other, resize, reduce, noise, jpeg = bsrgan.SHUFFLED.steps
    for scale, widest, longest in ((2, 2.4, 6), (4, 2.8, 8)):
        assert one.sigma[1] + one.sigma_per_scale * scale == pytest.approx(widest)
        assert other.sigma[1] + other.sigma_per_scale * scale == longest
    assert (one.sigma[0], other.sigma[0], other.variance) == (0.1, 0.5, True)
    assert one.size == other.size == (7, 21) and bsrgan.SHUFFLED.shuffle
    assert (resize.factor, resize.of, resize.probability) == ((0.5, None), "output", 0.25)
    assert reduce.filters == ("nearest", "bilinear", "bicubic")
    assert (noise.gaussian, noise.gray, noise.correlated) == ((1, 25), 0.4, 0.2)
    assert (jpeg.quality, jpeg.probability, bsrgan.HALVED.probability) == ((30, 95), 0.9, 0.25)
    assert bsrgan.LAST.steps[0].quality == (30, 95) and bsrgan.LAST.steps[0].probability == 1
