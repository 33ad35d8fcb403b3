"""Training samples of random scales: contents, and dependence on seed and number only."""

import numpy as np
import pytest
import torch
from helpers.pictures import texture
from helpers.samples import (
    MIRRORS,
    indices,
    mirrored,
    positions,
    random_scale,
    same,
    store_of,
    whole_crop,
)
from PIL import Image

from liif.core.errors import UserError
from liif.data.loader import batches, draw_sample, make_sample, source_of_batch
from liif.data.random_scale import RandomScale
from liif.data.size_varied import SizeVaried, SizeVariedSource
from liif.models.geometry import pixel_centres

# Random scales


def test_kinds_and_shapes():
    sample = random_scale(positions(60, 50)).sample(0, np.random.default_rng(0))
    assert [part.dtype for part in sample] == [np.uint8, np.float32, np.float32, np.uint8]
    assert [part.shape for part in sample] == [(8, 8, 3), (64, 2), (2,), (64, 3)]


@pytest.mark.parametrize("scale", [1.0, 2.0, 2.5])
def test_lr_coordinates_and_colours_belong_together(scale):
    side = round(8 * scale)
    image = positions(70, 60, number=7)
    source = random_scale(image, scale=(scale, scale), queries=side**2)
    seen = set()
    for number in range(80):
        sample = make_sample(source, 3, number)
        crop = whole_crop(sample)
        assert crop.shape == (side, side, 3) and (crop[..., 2] == 7).all()
        top, left = (int(crop[..., channel].min()) for channel in (0, 1))
        window = image[top : top + side, left : left + side]
        how = [mirror for mirror in MIRRORS if np.array_equal(mirrored(window, *mirror), crop)]
        assert len(how) == 1
        seen.add(how[0])
        small = Image.fromarray(window).resize((8, 8), Image.Resampling.BICUBIC)
        assert np.array_equal(mirrored(np.asarray(small), *how[0]), sample.lr)
    assert seen == set(MIRRORS)


def test_without_augmentation_nothing_is_mirrored():
    source = random_scale(positions(70, 60), scale=(2.0, 2.0), queries=256, augment=False)
    for number in range(20):
        crop = whole_crop(make_sample(source, 0, number))
        assert np.array_equal(crop[..., 0] - crop[0, 0, 0], positions(16, 16)[..., 0])
        assert np.array_equal(crop[..., 1] - crop[0, 0, 1], positions(16, 16)[..., 1])


def test_scales_are_uniform_in_their_range():
    source = random_scale(texture(40, 40))
    sides = sorted(indices(make_sample(source, 1, n))[2][0] for n in range(1500))
    assert sides[0] == 8 and sides[-1] == 32
    expected = np.linspace(8, 32, len(sides))  # quantiles of the uniform distribution
    assert np.abs(np.array(sides) - expected).max() < 1.5


@pytest.mark.parametrize("layout", ["points", "crop"])
def test_large_scales_are_drawn_more_often(layout):
    """As quantiles of 1 + 3 u^0.5, one scale a batch or a sample."""
    source = random_scale(texture(40, 40), scale_power=0.5, layout=layout)
    parts = (source_of_batch(source, 1, n) for n in range(1500))
    sides = sorted(indices(make_sample(part, 1, n))[2][0] for n, part in enumerate(parts))
    expected = 8 + 24 * np.linspace(0, 1, len(sides)) ** 0.5
    assert np.abs(np.array(sides) - expected).max() < 1.5


def test_crops_are_reduced_before_samples_are_made_from_them():
    image, factor = texture(90, 70), (1.0, 2.0)
    reduction = {"factor": factor, "probability": 0.5}
    source = random_scale(image, scale=(2.0, 4.0), reduce_hr=reduction)
    ratios = []
    for number in range(400):
        spec, sample = draw_sample(source, 3, number), make_sample(source, 3, number)
        window = image[spec.top : spec.top + spec.cut, spec.left : spec.left + spec.cut]
        assert window.shape == (spec.cut, spec.cut, 3)
        row, col, size = indices(sample)
        assert size == (spec.side, spec.side) and 16 <= spec.side <= 32
        crop, small = (
            mirrored(np.asarray(picture), spec.rows, spec.cols, spec.transpose)
            for picture in reduced(window, spec.side, 8)
        )
        assert np.array_equal(crop[row, col], sample.target)
        assert np.array_equal(small, sample.lr)
        ratios.append(spec.cut / spec.side)
    larger = sorted(ratio for ratio in ratios if ratio > 1)
    assert 170 < len(larger) < 230  # of 400, four standard deviations; few are rounded to 1
    assert np.abs(np.array(larger) - np.linspace(*factor, len(larger))).max() < 0.12


def reduced(window, *sides):
    """The window reduced by Pillow, to one side after the other."""
    picture = Image.fromarray(window)
    for side in sides:
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
        yield picture


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"reduce_hr": {"factor": [2, 1]}}, "low <= high"),
        ({"reduce_hr": {"factor": [0.5, 1]}}, "greater than or equal to 1"),
        ({"reduce_hr": {"probability": 1.5}}, "less than or equal to 1"),
        ({"reduce_hr": {}, "cache": "device"}, "device has no reduce_hr; use cache: mmap"),
    ],
)
def test_mistakes_in_a_reduction(values, message):
    with pytest.raises(ValueError, match=message):
        random_scale(texture(9, 9), **values)


def test_a_reduction_needs_larger_images(noise_folder):
    config = RandomScale(images=str(noise_folder), patch=2, scale=(1, 2), queries=4, reduce_hr={})
    with pytest.raises(UserError, match=r"crop of 8×8 px.*train_data\.reduce_hr\.factor"):
        config.open_source(None)


def test_every_position_is_reached():
    source = random_scale(positions(10, 12), scale=(1.0, 1.0))
    corners = {tuple(make_sample(source, 0, n).target[:, :2].min(axis=0)) for n in range(200)}
    assert corners == {(top, left) for top in range(3) for left in range(5)}


def test_no_pixel_is_queried_twice():
    source = random_scale(texture(64, 64), queries=60)
    for number in range(50):
        row, col, (_, width) = indices(make_sample(source, 2, number))
        assert len(set((row * width + col).tolist())) == 60


def test_queries_are_spread_over_the_crop():
    source = random_scale(texture(40, 40), scale=(4.0, 4.0))
    found = np.concatenate([make_sample(source, 0, n).coord for n in range(40)])
    assert np.abs(found.mean(axis=0)).max() < 0.05
    assert np.abs(found.std(axis=0) - 3**-0.5).max() < 0.02


def test_coordinates_are_the_models_pixel_centres_to_the_bit():
    tiny = positions(2, 2)
    for n in range(1, 250):
        config = SizeVaried(sampling="size-varied", lr="l", hr="h", size=(n, n), queries=n)
        source = SizeVariedSource(config, store_of(tiny), store_of(tiny), [(0, 0)])
        sample = source.sample(0, np.random.default_rng(n))
        row, col, _ = indices(sample)
        centres = pixel_centres(n, torch.empty(0)).numpy()
        assert np.array_equal(sample.coord, np.stack([centres[row], centres[col]], axis=-1))
        assert sample.cell.tolist() == [np.float32(2 / n)] * 2


# A pure function of (seed, number)


def test_a_sample_is_a_function_of_seed_and_number():
    source = random_scale(texture(40, 44), texture(48, 40, 1), texture(40, 40, 2))
    first = [make_sample(source, 5, number) for number in range(20)]
    again = [make_sample(source, 5, number) for number in reversed(range(20))][::-1]
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    others = [make_sample(source, 6, number) for number in range(20)]
    assert not any(same(a, b) for a in first for b in others)
    assert not any(same(a, b) for i, a in enumerate(first) for b in first[:i])


def test_the_largest_seeds_and_numbers_work():
    source = random_scale(texture(40, 44))
    assert not same(make_sample(source, 2**63 - 1, 10**18), make_sample(source, 0, 10**18))


def test_every_pass_visits_every_image_once_in_an_order_of_its_own():
    source = random_scale(*(positions(33, 33, number) for number in range(7)))
    visited = [int(make_sample(source, 0, n).target[0, 2]) for n in range(28)]
    passes = [tuple(visited[i : i + 7]) for i in range(0, 28, 7)]
    assert all(sorted(order) == list(range(7)) for order in passes)
    assert len(set(passes)) == 4
    other = tuple(int(make_sample(source, 1, n).target[0, 2]) for n in range(7))
    assert other != passes[0]


@pytest.mark.filterwarnings("ignore:This DataLoader")
def test_batches_are_the_same_through_any_number_of_workers_and_from_any_start():
    source = random_scale(texture(40, 44), texture(48, 40, 1), texture(40, 40, 2))

    def drawn(workers, start=0):
        return list(batches(source, seed=4, batch_size=2, start=start, stop=5, workers=workers))

    alone = drawn(0)
    assert len(alone) == 5 and alone[0].lr.shape == (2, 3, 8, 8)
    for workers in (1, 3):
        assert all(same(a, b) for a, b in zip(alone, drawn(workers), strict=True))
    assert all(same(a, b) for a, b in zip(alone[3:], drawn(0, start=3), strict=True))
    wanted = make_sample(source, 4, 3)
    assert torch.equal(alone[1].lr[1].permute(1, 2, 0), torch.tensor(wanted.lr))
    assert torch.equal(alone[1].coord[1], torch.tensor(wanted.coord))
    assert torch.equal(alone[1].target[1], torch.tensor(wanted.target))


def test_batches_become_floats_on_the_device():
    source = random_scale(texture(40, 44))
    (batch,) = batches(source, seed=0, batch_size=2, start=0, stop=1)
    moved = batch.to(torch.device("cpu"))
    assert moved.lr.dtype == moved.target.dtype == torch.float32
    assert torch.equal(moved.lr * 255, batch.lr.float())
    assert torch.equal(moved.target, batch.target / 255)
