"""Every degradation: any size and scale, any kind of pixels, a pure function of its arguments."""

import numpy as np
import pytest
import torch
from helpers.pictures import texture
from helpers.samples import random_scale, same

from liif.data.degradations.build import DEGRADATIONS
from liif.data.degradations.pipeline import PipelineConfig
from liif.data.loader import batches, make_sample

MIXED = PipelineConfig.model_validate(
    {
        "stages": [
            {"steps": [{"name": "blur"}, {"name": "noise", "poisson_share": 0.5}], "shuffle": True},
            {"steps": [{"name": "webp"}, {"name": "resize", "filters": ["nearest"]}]},
        ]
    }
)


def degradation(name):
    return MIXED if name == "pipeline" else DEGRADATIONS[name]()


def rng(number=0):
    return np.random.default_rng(number)


SIZES = [
    ((48, 48), (48, 48)),  # x1
    ((33, 47), (24, 34)),  # x1.37
    ((125, 150), (10, 12)),  # x12.5
    ((40, 70), (31, 20)),  # x1.3, 3.5
    ((1, 1), (1, 1)),
    ((1, 37), (1, 5)),
    ((17, 19), (1, 1)),
]


@pytest.mark.parametrize(("hr", "lr"), SIZES, ids=str)
@pytest.mark.parametrize("name", DEGRADATIONS)
def test_any_size(name, hr, lr):
    image = texture(*hr)
    before = image.copy()
    for number in range(6):
        small = degradation(name).apply(image, lr, rng(number))
        assert small.shape == (*lr, 3) and small.dtype == np.uint8 and small.flags.c_contiguous
    assert np.array_equal(image, before)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("name", DEGRADATIONS)
def test_any_kind_of_pixels(name, dtype, channels):
    values = rng().random((30, 40, channels)) ** 4
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    image = (values * top).astype(dtype)
    for number in range(4):
        small = degradation(name).apply(image, (11, 20), rng(number))
        assert small.dtype == dtype and small.shape == (11, 20, channels)
        assert small.min() >= 0 and small.max() <= top
        assert abs(small.mean() / top - values.mean()) < 0.15  # the same brightness


@pytest.mark.parametrize("name", ["bicubic", "area", "lanczos"])
def test_a_flat_picture_keeps_its_colour(name):
    image = np.full((60, 60, 3), (200, 120, 60), np.uint8)
    small = degradation(name).apply(image, (23, 20), rng())
    assert np.array_equal(small, image[:23, :20])


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_the_same_for_any_number_of_workers_and_threads(name):
    source = random_scale(texture(60, 50), texture(50, 60, 1), degrade=degradation(name))
    samples = [make_sample(source, 7, n) for n in range(4)]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert all(same(make_sample(source, 7, n), samples[n]) for n in (2, 1))
    finally:
        torch.set_num_threads(threads)
    for workers in (0, 2):
        batch = next(batches(source, seed=7, batch_size=4, start=0, stop=1, workers=workers))
        assert np.array_equal(batch.lr.permute(0, 2, 3, 1), np.stack([s.lr for s in samples]))
    assert not same(make_sample(source, 8, 1), samples[1])


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_trace_is_apply_with_words(name):
    image = texture(40, 40)
    small, notes = degradation(name).trace(image, (13, 13), rng(3))
    assert np.array_equal(small, degradation(name).apply(image, (13, 13), rng(3)))
    assert notes and all(notes)


def test_the_default_is_pillow_bicubic():
    source = random_scale(texture(60, 50))
    named = random_scale(texture(60, 50), degrade="bicubic")
    assert named.config == source.config
