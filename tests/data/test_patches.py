"""Queried pixels that are a square of the crop: `layout: patch`."""

import numpy as np
import pytest
import torch
import yaml
from helpers.configs import TRAIN, mistakes
from helpers.pictures import texture
from helpers.samples import (
    MIRRORS,
    fixed_pairs,
    indices,
    mirrored,
    positions,
    random_scale,
    same,
    size_varied,
)
from PIL import Image
from pydantic import ValidationError

from liif.data.gpu import DeviceSampler
from liif.data.loader import batches, make_sample
from liif.data.samples import Sample
from liif.training.config import TrainConfig

CPU = torch.device("cpu")


def sources(**values):
    """One of each sampling, of patches of 4×4 pixels."""
    values = {"layout": "patch", "queries": 16, **values}
    lr = [positions(9, 8, number) for number in range(2)]
    hr = [positions(18, 16, number) for number in range(2)]
    return {
        "random-scale": random_scale(positions(60, 50), texture(40, 44), **values),
        "pairs": fixed_pairs(lr, hr, 2, **values),
        "size-varied": size_varied(3, (10, 20), **values),
    }


SAMPLINGS = list(sources())


def assert_is_square(sample, side):
    row, col, _ = indices(sample)
    row, col = row.reshape(side, side), col.reshape(side, side)
    along = np.arange(side)
    assert np.array_equal(row, np.broadcast_to(row[0, 0] + along[:, None], (side, side)))
    assert np.array_equal(col, np.broadcast_to(col[0, 0] + along, (side, side)))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_queries_are_a_square_row_by_row(sampling):
    for number in range(30):
        assert_is_square(make_sample(sources()[sampling], 0, number), 4)


@pytest.mark.parametrize("sampling", ["random-scale", "pairs"])
def test_the_square_lies_in_the_augmented_crop(sampling):
    """Its colours are those of the picture, mirrored as the low-resolution patch is."""
    source = sources()[sampling]
    for number in range(0, 30, 2):  # positions(): colours say where a pixel is
        sample = make_sample(source, 1, number)
        rows, cols = sample.target[:, 0].reshape(4, 4), sample.target[:, 1].reshape(4, 4)
        if len(set(sample.target[:, 2].tolist())) > 1:  # a picture of texture
            continue
        window = positions(4, 4)[..., :2].astype(int) + np.array([rows.min(), cols.min()])
        found = np.stack([rows, cols], axis=-1)
        assert any(np.array_equal(mirrored(window, *how), found) for how in MIRRORS)


def test_every_place_is_reached():
    source = random_scale(
        positions(10, 12), scale=(1.0, 1.0), queries=36, layout="patch", augment=False
    )
    corners = set()
    for number in range(200):
        row, col, _ = indices(make_sample(source, 0, number))
        corners.add((row[0], col[0]))
    assert corners == {(row, col) for row in range(3) for col in range(3)}


def test_a_patch_may_be_the_whole_crop():
    source = random_scale(positions(20, 20), scale=(2.0, 2.0), queries=256, layout="patch")
    row, col, sides = indices(make_sample(source, 0, 0))
    assert sides == (16, 16) and np.array_equal(row * 16 + col, np.arange(256))


GOLDEN = [([18, 0, 0, 15], [8, 11, 24, 0]), ([2, 15, 18, 12], [15, 16, 18, 13])]
"""Rows and columns of queried pixels, as version 0.2 drew them."""


def test_points_are_drawn_as_before():
    source = random_scale(texture(40, 44), texture(48, 40, 1))
    found = [indices(make_sample(source, 5, number)) for number in range(2)]
    assert [(row[:4].tolist(), col[:4].tolist()) for row, col, _ in found] == GOLDEN


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_batch_says_the_side(sampling):
    source = sources()[sampling]
    options = {"seed": 0, "batch_size": 3, "start": 0, "stop": 1}
    (batch,) = batches(source, **options, layout="patch")
    moved = batch.to(CPU)
    assert (batch.patch, moved.patch, [part.patch for part in moved.split(2)]) == (4, 4, [4, 4])
    (points,) = batches(sources(layout="points")[sampling], **options)
    assert points.patch is None and points.to(CPU).patch is None


@pytest.mark.parametrize("sampling", ["random-scale", "pairs"])
def test_patches_made_on_the_device_are_those_of_the_host(sampling):
    source = sources()[sampling]
    options = {"seed": 3, "batch_size": 4, "start": 0, "stop": 5, "layout": "patch"}
    host = list(batches(source, **options))
    device = list(batches(source, **options, device_sampler=DeviceSampler(source, CPU)))
    assert len(host) == 5 and all(same(a, b) for a, b in zip(host, device, strict=True))


@pytest.mark.filterwarnings("ignore:This DataLoader")
def test_patches_are_the_same_through_workers():
    source = sources()["random-scale"]
    options = {"seed": 3, "batch_size": 2, "start": 1, "stop": 3, "layout": "patch"}
    alone, worked = (list(batches(source, **options, workers=n)) for n in (0, 2))
    assert all(same(a, b) for a, b in zip(alone, worked, strict=True))


def test_whole_crops_share_the_scale_of_their_batch():
    """All pixels of every crop, the same through workers and on a device; scales differ from batch
    to batch and follow the range."""
    source = random_scale(positions(60, 50), texture(40, 44), layout="crop")
    options = {"seed": 3, "batch_size": 3, "start": 0, "stop": 40, "layout": "crop"}
    found = list(batches(source, **options))
    sides = [batch.patch for batch in found]
    assert min(sides) < 12 and max(sides) > 28 and len(set(sides)) > 10
    for batch, side in zip(found, sides, strict=True):
        assert batch.is_crop and batch.to(CPU).is_crop and batch.split(2)[1].is_crop
        assert batch.coord.shape == (3, side * side, 2) and (batch.cell == 2 / side).all()
        for sample in zip(*(part.numpy() for part in batch[:4]), strict=True):
            row, col, _ = indices(Sample(*sample))
            assert np.array_equal(row * side + col, np.arange(side * side))
    device = batches(source, **options, device_sampler=DeviceSampler(source, CPU))
    assert all(same(a, b) for a, b in zip(found, device, strict=True))
    again = batches(source, **{**options, "start": 7, "stop": 9})
    assert all(same(a, b) for a, b in zip(found[7:9], again, strict=True))


@pytest.mark.parametrize("sampling", ["pairs", "size-varied"])
def test_whole_crops_are_for_random_scales(sampling):
    data = {"sampling": sampling, "lr": "a", "hr": "b", "layout": "crop"}
    data |= {"size": [64, 256]} if sampling == "size-varied" else {}
    with pytest.raises(ValidationError, match="layout: crop is for sampling: random-scale"):
        TrainConfig.model_validate({**yaml.safe_load(TRAIN), "train_data": data})


def test_a_loss_of_patches_needs_large_crops():
    data = {"sampling": "random-scale", "images": "x", "layout": "crop", "patch": 16}
    values = {**yaml.safe_load(TRAIN), "loss": "gradient"}
    config = TrainConfig.model_validate({**values, "train_data": data})
    assert config.train_data.queried_side == 16
    with pytest.raises(ValidationError, match="so that the smallest crop has 2 px"):
        TrainConfig.model_validate({**values, "train_data": {**data, "patch": 1}})


def test_colours_are_those_of_the_resized_target():
    source = size_varied(3, (10, 20), layout="patch", queries=100, augment=False)
    sample = source.sample(0, np.random.default_rng(0))
    whole = Image.fromarray(texture(30, 30, 0)).resize((10, 10), Image.Resampling.BICUBIC)
    assert np.array_equal(sample.target.reshape(10, 10, 3), np.asarray(whole))


@pytest.mark.parametrize("queries", [2, 2300, 2305])
def test_a_number_that_is_no_square_is_one_line(yaml_file, queries):
    side = int(queries**0.5)
    message = mistakes(
        TrainConfig, yaml_file(TRAIN), f"train_data.queries={queries}", "train_data.layout=patch"
    )
    said = f"queries: {queries} is no square number, as layout: patch needs; the nearest are "
    assert f"{said}{side**2} and {(side + 1) ** 2}" in message and "\n" not in message


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_each_sampling_refuses_it(sampling):
    with pytest.raises(ValidationError, match="the nearest are 9 and 16"):
        sources(queries=10)[sampling]
