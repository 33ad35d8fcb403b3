"""Samples made on the device are the samples made on the host."""

import json

import numpy as np
import pytest
import torch
from helpers.models import TINY
from helpers.pictures import texture
from helpers.samples import fixed_pairs, positions, random_scale, size_varied

from liif.core.errors import UserError
from liif.data.gpu import BITS, DeviceImages, DeviceSampler, pillow_weights
from liif.data.loader import batches
from liif.images.resize import pillow_bicubic
from liif.images.rgb8 import write_image
from liif.training.config import TrainConfig
from liif.training.train import train

CPU = torch.device("cpu")
NOISE = np.random.default_rng(0)


def noise(height, width):
    return NOISE.integers(0, 256, (height, width, 3), dtype=np.uint8)


def assert_same_batches(source, count=40, **settings):
    asked = {"seed": 3, "batch_size": 4, "start": 0, "stop": count // 4, **settings}
    host = list(batches(source, **asked))
    device = list(batches(source, **asked, device_sampler=DeviceSampler(source, CPU)))
    assert len(host) == len(device) == asked["stop"] - asked["start"]
    for a, b in zip(host, device, strict=True):
        for x, y in zip(a[:4], b[:4], strict=True):
            assert x.dtype == y.dtype and torch.equal(x, y)


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("scale", [(1.0, 4.0), (1.0, 1.0), (2.3, 2.3), (3.0, 9.5)])
def test_random_scale_to_the_bit(scale, augment):
    """Colours, coordinates, cells, and low-resolution pixels; noise is the hardest to reduce."""
    images = [noise(76, 90), noise(99, 77), np.where(noise(80, 80) < 128, 0, 255).astype(np.uint8)]
    assert_same_batches(random_scale(*images, scale=scale, augment=augment))


def test_the_papers_sizes_to_the_bit():
    assert_same_batches(random_scale(noise(200, 230), patch=48, queries=2304), count=8)


@pytest.mark.parametrize("scale", [2, 3])
def test_pairs_to_the_bit(scale):
    small = [texture(20, 26, seed) for seed in range(3)]
    large = [texture(20 * scale, 26 * scale, seed) for seed in (4, 5, 6)]
    assert_same_batches(fixed_pairs(small, large, scale, order=[(0, 1), (2, 0), (1, 2)]))


@pytest.mark.parametrize("workers", [0, 2])
def test_any_share_start_and_number_of_workers(workers):
    source = random_scale(noise(60, 60), noise(50, 70))
    assert_same_batches(source, start=3, stop=6, share=range(1, 3), workers=workers)


@pytest.mark.parametrize("length", [7, 8, 9, 13, 16, 31, 57, 64])
def test_coefficients_are_pillows(length):
    """By way of an image of single bright pixels, one a row: each shows its own coefficient."""
    size = 7
    weights = pillow_weights(length, size, length + 3)
    assert not weights[:, length:].any()
    assert np.abs(weights.sum(axis=1) - 2**BITS).max() <= length
    image = np.zeros((length, length, 3), np.uint8)
    image[np.arange(length), np.arange(length)] = 255
    rows = weights[:, :length] * 255
    expected = (rows + 2 ** (BITS - 1) >> BITS).clip(0, 255).T
    np.testing.assert_array_equal(pillow_bicubic(image, (length, size))[..., 0], expected)


def test_images_lie_end_to_end():
    source = random_scale(positions(30, 31, 0), positions(33, 32, 1))
    pixels = DeviceImages(source.store, CPU)
    image, row, col = torch.tensor([[0], [1]]), torch.tensor([5, 29]), torch.tensor([30, 0])
    expected = [[[5, 30, 0], [29, 0, 0]], [[5, 30, 1], [29, 0, 1]]]
    assert pixels.at(image, row, col).tolist() == expected


def test_sizes_that_vary_are_left_to_the_host():
    with pytest.raises(UserError, match=r"train_data\.cache: device supports .*; use mmap"):
        DeviceSampler(size_varied(3, (10, 20)), CPU)


def test_images_that_do_not_fit_are_told_with_their_size(monkeypatch):
    source = random_scale(noise(40, 50))

    def full(*_, **__):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(UserError, match=r"take 6,000 bytes, more than is free on cpu; use mmap"):
        DeviceSampler(source, CPU)


def test_a_run_learns_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("LIIF_CACHE", str(tmp_path / "cache"))
    for i in range(3):
        write_image(tmp_path / "photos" / f"{i}.png", texture(60, 70, i))
    lines = {}
    for cache in ("mmap", "device"):
        data = {"sampling": "random-scale", "images": str(tmp_path / "photos"), "cache": cache}
        settings = {
            "model": TINY,
            "train_data": {**data, "patch": 12, "queries": 100},
            **{"steps": 6, "batch_size": 2, "log_every": 1, "workers": 0},
        }
        assert train(TrainConfig.model_validate(settings), tmp_path / cache)
        text = (tmp_path / cache / "metrics.jsonl").read_text()
        lines[cache] = [(line := json.loads(row))["loss"] for row in text.splitlines()]
        assert len(lines[cache]) == 6 and line["step"] == 6
    assert lines["mmap"] == lines["device"]
