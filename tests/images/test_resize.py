"""Antialiased bicubic: equal to the published images, and to the rule written pixel by pixel."""

import hashlib
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from helpers.paths import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from liif.images.resize import _cube, matlab_bicubic, pillow_bicubic
from liif.images.rgb8 import read_image


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("name", "count"),
    [("Set5", 5), ("Set14", 14), pytest.param("B100", 100, marks=pytest.mark.slow)],
)
def test_published_low_resolution_images_bit_for_bit(benchmark_data, name, count, scale):
    folder = benchmark_data / "benchmark" / name
    files = sorted((folder / "HR").glob("*.png"))
    assert len(files) == count
    different = []
    for file in files:
        hr = read_image(file)
        published = folder / "LR_bicubic" / f"X{scale}" / f"{file.stem}x{scale}.png"
        h, w = hr.shape[0] // scale, hr.shape[1] // scale
        ours = matlab_bicubic(hr[: h * scale, : w * scale], (h, w))
        if not np.array_equal(ours, read_image(published)):
            different.append(file.name)
    assert different == []


def test_cubes_are_rounded_once():
    x = np.concatenate([np.random.default_rng(0).random(500) * 2, np.arange(0, 2, 1 / 37)])
    assert [float(Fraction(each) ** 3) for each in x.tolist()] == _cube(x).tolist()


@pytest.mark.skipif(not (SHARED / "metrics").is_dir(), reason="needs shared hashes (LIIF_SHARED)")
@pytest.mark.parametrize("scale", ["1.5", "2.5", "3.5", "3.7", "2.5/1.5"])
def test_low_resolution_images_of_arbsr_have_the_same_bytes_everywhere(benchmark_data, scale):
    """For both borders of MATLAB's; sizes as ArbSR's script has them."""
    hashes = json.loads((SHARED / "metrics" / "lr_hashes.json").read_text())["lr"]
    sizes = json.loads((SHARED / "metrics" / "arbsr_sizes.json").read_text())["scales"]
    factors = (scale.partition("/")[0], scale.rpartition("/")[2])
    checked = 0
    for file in (benchmark_data / "benchmark" / "Set5" / "HR").iterdir():
        hr = read_image(file)
        used = [
            sizes[factor]["sides"][str(side)][0]
            for factor, side in zip(factors, hr.shape[:2], strict=True)
        ]
        for border in ("replicate", "mirror"):
            shape, expected = hashes[f"{file.stem} x{scale}"][f"arbsr {border} columns"]
            lr = matlab_bicubic(hr[: used[0], : used[1]], tuple(shape[:2]), border=border)
            assert hashlib.sha256(lr.tobytes()).hexdigest() == expected, (file.name, border)
            checked += 1
    assert checked == 10


# MATLAB's rule, one pixel at a time: what `matlab_bicubic` must equal at every size.


def cubic(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def slow_line(line, out_length, scale, border):
    """Resize a list of numbers; positions counted from 1, as MATLAB's manual does."""
    n, stretch = len(line), min(scale, 1.0)
    result = []
    for i in range(1, out_length + 1):
        centre = i / scale + 0.5 * (1 - 1 / scale)
        left, right = math.floor(centre - 2 / stretch), math.ceil(centre + 2 / stretch)
        total = weights = 0.0
        for j in range(left, right + 1):
            k = j
            if border == "replicate":
                k = min(max(k, 1), n)
            while not 1 <= k <= n:  # "mirror": fold back at whichever edge was crossed
                k = 1 - k if k < 1 else 2 * n + 1 - k
            weight = cubic(stretch * (centre - j))
            total += weight * line[k - 1]
            weights += weight
        result.append(total / weights)
    return result


def slow_resize(image, size, scale, border):
    """Exact (not rounded) result of the second pass, the first one rounded to 8 bit, half up."""
    first, second = (0, 1) if scale[0] <= scale[1] else (1, 0)
    image = image.astype(float)

    def one_axis(image, axis):
        return np.apply_along_axis(slow_line, axis, image, size[axis], scale[axis], border)

    return one_axis(np.clip(np.floor(one_axis(image, first) + 0.5), 0, 255), second)


@pytest.mark.parametrize("border", ["replicate", "mirror"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((13, 17), (6, 5)),  # reduced, unequal
        ((13, 17), (5, 9)),
        ((9, 7), (20, 23)),  # enlarged
        ((9, 12), (5, 31)),  # one reduced, one enlarged
        ((12, 9), (31, 5)),
        ((11, 10), (11, 10)),
        ((7, 5), (1, 1)),
        ((1, 1), (3, 2)),
        ((1, 6), (2, 3)),
        ((40, 3), (2, 2)),  # kernel much wider than the image
    ],
)
def test_equals_the_rule_written_pixel_by_pixel(shape, size, border):
    image = noise(*shape)
    scale = (size[0] / shape[0], size[1] / shape[1])
    expected = slow_resize(image, size, scale, border)
    ours = matlab_bicubic(image, size, border=border)
    assert ours.shape == (*size, 3) and ours.dtype == np.uint8
    # An exact half may fall either way when summed in another order.
    sure = abs(expected - np.floor(expected) - 0.5) > 1e-9
    rounded = np.clip(np.floor(expected + 0.5), 0, 255)
    assert np.array_equal(ours[sure], rounded[sure])
    assert sure.mean() > 0.9
    assert abs(ours - rounded).max() <= 1


@pytest.mark.parametrize("scale", [(0.3, 0.3), (0.37, 0.61), (1.7, 0.45)])
def test_a_given_scale_is_sampled_exactly_whatever_the_size(scale):
    image = noise(21, 26)
    size = (math.ceil(21 * scale[0]), math.ceil(26 * scale[1]))
    expected = slow_resize(image, size, scale, "replicate")
    ours = matlab_bicubic(image, size, scale=scale)
    assert abs(ours - np.clip(expected, 0, 255)).max() < 0.5 + 1e-9
    assert not np.array_equal(ours, matlab_bicubic(image, size))


def test_the_smaller_scale_goes_first_and_rows_before_columns():
    image = noise(24, 24)

    def one_axis(image, size, scale):
        return matlab_bicubic(image, size, scale=scale)

    def rows_first(size, y, x):
        return one_axis(one_axis(image, (size[0], 24), (y, 1.0)), size, (1.0, x))

    def columns_first(size, y, x):
        return one_axis(one_axis(image, (24, size[1]), (1.0, x)), size, (y, 1.0))

    assert np.array_equal(matlab_bicubic(image, (12, 12)), rows_first((12, 12), 0.5, 0.5))
    assert np.array_equal(matlab_bicubic(image, (8, 12)), rows_first((8, 12), 1 / 3, 0.5))
    assert np.array_equal(matlab_bicubic(image, (12, 8)), columns_first((12, 8), 0.5, 1 / 3))
    assert not np.array_equal(rows_first((12, 12), 0.5, 0.5), columns_first((12, 12), 0.5, 0.5))


def test_values_computed_by_hand():
    # Enlarging a step 0 | 160 twofold: cubic at 1/4, 3/4, 5/4, 7/4 is 111, 29, -9, -3 over 128.
    line = np.array([0, 0, 0, 0, 160, 160, 160, 160], np.uint8)
    image = np.repeat(line[None, :, None], 3, axis=2)
    row = matlab_bicubic(image, (1, 16))[0, :, 0]
    # Seven pixels at or below 0, then 160 * (29 - 3) / 128 = 32.5 and 160 * (111 - 9) / 128 =
    # 127.5, both rounded up, 160 * (128 + 9) / 128 = 171.25, 160 * (128 + 3) / 128 = 163.75.
    assert row.tolist() == [0] * 7 + [33, 128, 171, 164] + [160] * 5


def test_borders_differ_only_near_the_edge():
    image = noise(40, 40)
    replicate = matlab_bicubic(image, (20, 20)).astype(int)
    mirror = matlab_bicubic(image, (20, 20), border="mirror").astype(int)
    assert np.array_equal(replicate[2:-2, 2:-2], mirror[2:-2, 2:-2])
    assert not np.array_equal(replicate[0], mirror[0])


def test_a_large_image_resized_in_blocks_equals_its_parts():
    image = noise(700, 900)
    whole = matlab_bicubic(image, (350, 450))
    part = matlab_bicubic(image[300:400], (50, 450))
    assert np.array_equal(whole[155:195], part[5:45])


sides = st.integers(1, 24)
borders = st.sampled_from(["replicate", "mirror"])


@settings(deadline=None, max_examples=60)
@given(sides, sides, sides, sides, st.integers(0, 255), borders)
def test_constant_images_stay_constant(height, width, h, w, value, border):
    image = np.full((height, width, 3), value, np.uint8)
    expected = np.full((h, w, 3), value, np.uint8)
    assert np.array_equal(matlab_bicubic(image, (h, w), border=border), expected)
    assert np.array_equal(pillow_bicubic(image, (h, w)), expected)


@settings(deadline=None, max_examples=60)
@given(sides, sides, sides, sides, st.integers(0, 99), borders)
def test_mirrored_input_gives_mirrored_output(height, width, h, w, seed, border):
    image = noise(height, width, seed)
    ours = matlab_bicubic(image, (h, w), border=border).astype(int)
    for axis in (0, 1):
        flipped = matlab_bicubic(np.flip(image, axis), (h, w), border=border)
        # Summed from the other end an exact half may round otherwise, in each of the two passes.
        assert abs(np.flip(flipped, axis) - ours).max() <= 2


@settings(deadline=None, max_examples=40)
@given(sides, sides, st.integers(0, 99), borders)
def test_the_same_size_returns_the_same_image(height, width, seed, border):
    image = noise(height, width, seed)
    assert np.array_equal(matlab_bicubic(image, (height, width), border=border), image)
    assert np.array_equal(pillow_bicubic(image, (height, width)), image)


@settings(deadline=None, max_examples=40)
@given(sides, sides, sides, sides, st.integers(0, 99))
def test_channels_do_not_mix(height, width, h, w, seed):
    image = noise(height, width, seed)
    swapped = np.ascontiguousarray(image[..., ::-1])
    assert np.array_equal(matlab_bicubic(swapped, (h, w))[..., ::-1], matlab_bicubic(image, (h, w)))


def test_transposed_input_gives_transposed_output_where_the_order_is_given_by_the_scales():
    image = noise(30, 23)
    turned = np.ascontiguousarray(image.transpose(1, 0, 2))
    ours = matlab_bicubic(image, (10, 17))
    assert np.array_equal(matlab_bicubic(turned, (17, 10)).transpose(1, 0, 2), ours)


def test_the_input_is_unchanged_and_may_have_any_memory_layout():
    image = noise(20, 30)
    before = image.copy()
    view = image[2:18:2, ::-3]
    ours = matlab_bicubic(view, (5, 6))
    assert np.array_equal(ours, matlab_bicubic(np.ascontiguousarray(view), (5, 6)))
    assert np.array_equal(pillow_bicubic(view, (5, 6)), pillow_bicubic(view.copy(), (5, 6)))
    assert np.array_equal(image, before)
    assert ours.flags.c_contiguous and ours.flags.writeable


def test_pillow_bicubic_equals_pillow():
    image = noise(31, 45)
    expected = np.asarray(Image.fromarray(image).resize((20, 12), Image.Resampling.BICUBIC))
    ours = pillow_bicubic(image, (12, 20))
    assert ours.shape == (12, 20, 3) and ours.flags.writeable
    assert np.array_equal(ours, expected)
    assert not np.array_equal(ours, matlab_bicubic(image, (12, 20)))


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
@pytest.mark.parametrize("resize", [matlab_bicubic, pillow_bicubic])
def test_8_bit_channels_are_resized_as_those_of_rgb(resize, channels):
    image = np.random.default_rng(1).integers(0, 256, (31, 45, channels), dtype=np.uint8)
    for size in [(12, 20), (40, 20)]:
        ours = resize(image, size)
        assert ours.shape == (*size, channels) and ours.flags.c_contiguous and ours.flags.writeable
        for c in range(channels):
            as_rgb = resize(np.repeat(image[..., c : c + 1], 3, axis=2), size)
            assert np.array_equal(ours[..., c], as_rgb[..., 1])


def pillow_rule(plane, size):
    """Pillow's antialiased bicubic in exact arithmetic, as float64: support, then normalisation."""
    for _ in range(2):
        n, m = len(plane), size[0]
        stretch = max(n / m, 1.0)
        weights = np.zeros((m, n))
        for i in range(m):
            centre = (i + 0.5) * n / m
            first = max(int(centre - 2 * stretch + 0.5), 0)
            last = min(int(centre + 2 * stretch + 0.5), n)
            for j in range(first, last):
                weights[i, j] = cubic((j - centre + 0.5) / stretch)
        plane = (weights / weights.sum(axis=1, keepdims=True) @ plane).T
        size = size[::-1]
    return plane


@pytest.mark.parametrize("size", [(12, 20), (31, 20), (50, 61)])
def test_16_bits_and_floats_are_exact(size):
    """The largest error is that of float32 between the passes: 1/100 of a level of 16 bits."""
    deep = np.random.default_rng(2).integers(0, 65536, (31, 45, 4), dtype=np.uint16)
    deep[:16], deep[:8, :20] = 0, 65535
    expected = np.stack([pillow_rule(p.astype(float), size) for p in deep.transpose(2, 0, 1)], -1)
    assert expected.min() < 0 and expected.max() > 65535  # overshoot, which must not wrap
    ours = pillow_bicubic(deep, size)
    assert ours.dtype == np.uint16
    assert np.abs(ours - expected.clip(0, 65535)).max() < 0.51
    floats = pillow_bicubic((deep / 65535).astype(np.float32), size)
    assert floats.dtype == np.float32
    assert np.abs(floats * 65535.0 - expected.clip(0, 65535)).max() < 0.05


def test_matlab_rounds_16_bits_once_per_axis():
    deep = np.random.default_rng(3).integers(0, 65536, (20, 24, 2), dtype=np.uint16)
    rows = np.floor(matlab_bicubic(deep.astype(float), (10, 24)) + 0.5).clip(0, 65535)
    both = np.floor(matlab_bicubic(rows, (10, 12)) + 0.5).clip(0, 65535)
    assert np.array_equal(matlab_bicubic(deep, (10, 12)), both)


@pytest.mark.parametrize("resize", [matlab_bicubic, pillow_bicubic])
@pytest.mark.parametrize(
    ("image", "size"),
    [
        (np.zeros((4, 4), np.uint8), (2, 2)),
        (np.zeros((4, 4, 3), np.int16), (2, 2)),
        (np.zeros((4, 4, 3), np.float16), (2, 2)),
        (np.zeros((0, 4, 3), np.uint8), (2, 2)),
        (np.zeros((4, 4, 3), np.uint8), (0, 2)),
    ],
)
def test_other_shapes_and_sizes_are_errors(resize, image, size):
    with pytest.raises(ValueError, match=r"expected \(H, W, C\)|at least"):
        resize(image, size)


def test_a_scale_must_be_positive():
    for scale in [(0.0, 1.0), (1.0, -2.0), (float("nan"), 1.0), (1.0, float("inf"))]:
        with pytest.raises(ValueError, match="positive"):
            matlab_bicubic(noise(4, 4), (2, 2), scale=scale)
