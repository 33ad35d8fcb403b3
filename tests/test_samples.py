"""Training samples: what is drawn, that it belongs together, and that it is the same everywhere."""

import logging
import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import texture
from PIL import Image

from liif.data.cache import ImageStore
from liif.data.images import write_image
from liif.data.loader import Batches, batches, make_sample
from liif.data.samples import (
    FixedPairs,
    FixedPairsSource,
    RandomScale,
    RandomScaleSource,
    SizeVaried,
    SizeVariedSource,
)
from liif.errors import UserError
from liif.geometry import pixel_centres

MIRRORS = [(rows, cols, turn) for rows in (0, 1) for cols in (0, 1) for turn in (0, 1)]


def positions(height, width, number=0):
    """A picture whose colours say where a pixel is: (row, column, number)."""
    image = np.full((height, width, 3), number, np.uint8)
    image[..., 0], image[..., 1] = np.arange(height)[:, None], np.arange(width)
    return image


def store_of(*images):
    names = [f"{i}.png" for i in range(len(images))]
    return ImageStore(names, [image.shape[:2] for image in images], [], list(images))


def random_scale(*images, **values):
    settings = {"images": "x", "patch": 8, "scale": (1.0, 4.0), "queries": 64, **values}
    return RandomScaleSource(RandomScale(**settings), store_of(*images))


def indices(sample):
    """Rows and columns of the queried pixels, and the crop's side, from coordinates and cell."""
    side = np.round(2 / sample.cell).astype(int)
    at = np.round(((sample.coord.astype(float) + 1) * side - 1) / 2).astype(int)
    assert (at >= 0).all() and (at < side).all()
    return at[:, 0], at[:, 1], tuple(side.tolist())


def whole_crop(sample):
    """The high-resolution crop, where every one of its pixels was asked for."""
    row, col, (height, width) = indices(sample)
    assert len(row) == height * width
    crop = np.zeros((height, width, 3), np.uint8)
    crop[row, col] = sample.target
    return crop


def mirrored(image, rows, cols, turn):
    image = np.flip(image, [axis for axis, on in enumerate((rows, cols)) if on])
    return np.transpose(image, (1, 0, 2)) if turn else image


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


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


def test_every_position_is_reached():
    source = random_scale(positions(10, 12), scale=(1.0, 1.0))
    corners = {tuple(make_sample(source, 0, n).target[:, :2].min(axis=0)) for n in range(200)}
    assert corners == {(top, left) for top in range(3) for left in range(5)}


def test_no_pixel_is_asked_for_twice():
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
    batch = Batches(source, seed=0, batch_size=2, share=range(2), workers=0)[0]
    moved = batch.to(torch.device("cpu"))
    assert moved.lr.dtype == moved.target.dtype == torch.float32
    assert torch.equal(moved.lr * 255, batch.lr.float())
    assert torch.equal(moved.target, batch.target / 255)


# Fixed pairs


def fixed_pairs(lr, hr, scale, order=None, **values):
    settings = {"lr": "l", "hr": "h", "patch": 5, "queries": (5 * scale) ** 2, **values}
    order = order or [(i, i) for i in range(len(lr))]
    config = FixedPairs(sampling="pairs", **settings)
    return FixedPairsSource(config, store_of(*lr), store_of(*hr), order, scale)


@pytest.mark.parametrize("scale", [2, 3])
def test_fixed_pairs_stay_aligned(scale):
    lr = [positions(9, 12, 0), positions(11, 7, 1)]
    hr = [image.repeat(scale, axis=0).repeat(scale, axis=1) for image in lr]
    hr[1] = np.pad(hr[1], [(0, scale - 1), (0, 1), (0, 0)])  # a remainder, as published sets have
    source = fixed_pairs(lr, hr[::-1], scale, order=[(0, 1), (1, 0)])
    corners = set()
    for number in range(60):
        sample = make_sample(source, 0, number)
        crop = whole_crop(sample)
        assert np.array_equal(crop, sample.lr.repeat(scale, axis=0).repeat(scale, axis=1))
        corners.add((int(crop[0, 0, 2]), *crop[..., :2].min(axis=(0, 1)).tolist()))
    assert {corner[0] for corner in corners} == {0, 1} and len(corners) > 20


def test_fixed_pairs_are_mirrored_too():
    image = positions(9, 12)
    source = fixed_pairs([image], [image], 1)
    seen = set()
    for number in range(80):
        lr = make_sample(source, 0, number).lr
        window = positions(5, 5) + lr.min(axis=(0, 1))
        seen |= {mirror for mirror in MIRRORS if np.array_equal(mirrored(window, *mirror), lr)}
    assert seen == set(MIRRORS)


def pairs_on_disk(root, lr_sizes, hr_sizes):
    for folder, suffix, sizes in (("lr", "x2", lr_sizes), ("hr", "", hr_sizes)):
        for i, (height, width) in enumerate(sizes):
            write_image(root / folder / f"{i}{suffix}.png", texture(height, width, i))
    return FixedPairs(sampling="pairs", lr="lr", hr="hr", patch=5, queries=9, cache="none")


def test_fixed_pairs_find_partners_and_scale(tmp_path):
    config = pairs_on_disk(tmp_path, [(10, 12), (8, 9)], [(20, 24), (17, 18)])
    source = config.open_source(str(tmp_path))
    assert source.scale == 2 and source.order == [(0, 0), (1, 1)]
    assert make_sample(source, 0, 0).cell.tolist() == [np.float32(0.2)] * 2


def test_pairs_that_are_not_of_one_scale_are_named_on_both_sides(tmp_path):
    config = pairs_on_disk(tmp_path, [(10, 12)], [(20, 36)])
    with pytest.raises(UserError) as caught:
        config.open_source(str(tmp_path))
    for part in ("lr/0x2.png (12×10 px)", "hr/0.png (36×20 px)", "whole-numbered scale"):
        assert part in str(caught.value)
    config = pairs_on_disk(tmp_path, [(10, 12), (10, 12)], [(20, 24), (30, 36)])
    with pytest.raises(UserError, match=r"hr: its images are of several scales: \[2, 3\]"):
        config.open_source(str(tmp_path))


def test_more_queries_than_pixels_in_fixed_pairs(tmp_path):
    config = pairs_on_disk(tmp_path, [(10, 12)], [(20, 24)]).model_copy(update={"queries": 101})
    with pytest.raises(UserError, match=r"train_data\.queries: at most the 100 pixels"):
        config.open_source(str(tmp_path))


@pytest.mark.parametrize("skip_broken", [False, True])
def test_pairs_of_which_none_match(tmp_path, skip_broken):
    write_image(tmp_path / "lr" / "a.png", texture(10, 12))
    write_image(tmp_path / "hr" / "b.png", texture(20, 24))
    values = {"lr": "lr", "hr": "hr", "cache": "none", "skip_broken": skip_broken}
    for config in (
        FixedPairs(sampling="pairs", patch=5, queries=9, **values),
        SizeVaried(sampling="size-varied", size=(5, 9), queries=9, **values),
    ):
        with pytest.raises(UserError, match=r"do not match: .*b\.png.*a\.png"):
            config.open_source(str(tmp_path))


def test_skipping_a_broken_partner(tmp_path, caplog):
    config = pairs_on_disk(tmp_path, [(10, 12), (8, 9)], [(20, 24), (16, 18)])
    (tmp_path / "lr" / "0x2.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"0x2\.png: .*empty.*skip_broken: true"):
        config.open_source(str(tmp_path))
    with caplog.at_level(logging.WARNING, "liif"):
        source = config.model_copy(update={"skip_broken": True}).open_source(str(tmp_path))
    assert "1 of 2 images are broken and left out: 0x2.png" in caplog.text
    assert len(source) == 1 and np.array_equal(source.lr[source.order[0][0]], texture(8, 9, 1))
    assert np.array_equal(source.hr[source.order[0][1]], texture(16, 18, 1))


# Sizes that grow


def size_varied(count, size, **values):
    config = SizeVaried(sampling="size-varied", lr="l", hr="h", size=size, queries=16, **values)
    lr = [positions(6, 6, number) for number in range(count)]
    hr = [texture(30, 30, number) for number in range(count)]
    return SizeVariedSource(config, store_of(*lr), store_of(*hr), [(i, i) for i in range(count)])


def test_sizes_grow_from_the_first_image_to_the_last():
    source = size_varied(5, (10, 24))
    sides = [indices(source.sample(i, np.random.default_rng(0)))[2] for i in range(5)]
    assert sides == [(n, n) for n in (10, 14, 17, 20, 24)]
    alone = size_varied(1, (10, 24)).sample(0, np.random.default_rng(0))
    assert indices(alone)[2] == (10, 10)


def test_size_varied_samples_belong_together():
    source = size_varied(3, (10, 24))
    flips = set()
    for number in range(40):
        sample = make_sample(source, 0, number)
        index = int(sample.lr[0, 0, 2])
        flipped = bool(sample.lr[0, 0, 1])
        flips.add(flipped)
        row, col, (side, _) = indices(sample)
        hr = Image.fromarray(texture(30, 30, index)).resize((side, side), Image.Resampling.BICUBIC)
        step = -1 if flipped else 1
        assert np.array_equal(sample.lr, positions(6, 6, index)[:, ::step])
        assert np.array_equal(sample.target, np.asarray(hr)[:, ::step][row, col])
    assert flips == {False, True}
    still = size_varied(3, (10, 24), augment=False)
    assert all(make_sample(still, 0, n).lr[0, 0, 1] == 0 for n in range(20))


def test_size_varied_needs_one_size_of_lr(tmp_path):
    for i in range(2):
        write_image(tmp_path / "lr" / f"{i}.png", texture(10, 12 + i))
        write_image(tmp_path / "hr" / f"{i}.png", texture(20, 24))
    config = SizeVaried(
        sampling="size-varied", lr="lr", hr="hr", size=(5, 9), queries=9, cache="none"
    )
    with pytest.raises(UserError, match=r"lr: its images are of several sizes"):
        config.open_source(str(tmp_path))


# Files


def on_disk(photos, **values):
    settings = {"images": photos.name, "cache": "none", "patch": 8, "queries": 16, **values}
    return RandomScale(**settings).open_source(str(photos.parent))


def test_images_smaller_than_the_crop_are_named_with_their_sizes(photos):
    assert len(on_disk(photos, patch=10)) == 3  # a crop of 40 px, the height of the smallest
    with pytest.raises(UserError) as caught:
        on_disk(photos, patch=11)
    message = str(caught.value)
    for part in ("1 of 3 images", "44×44 px", "a.png (60×40 px)", "train_data.patch"):
        assert part in message
    assert "b.png" not in message and "c.png" not in message


def test_many_small_images_are_not_all_listed(photos):
    for number in range(9):
        write_image(photos / f"small{number}.png", texture(5, 6))
    with pytest.raises(UserError) as caught:
        on_disk(photos)
    message = str(caught.value)
    assert "9 of 12 images" in message and message.count("(6×5 px)") == 5 and "…" in message


@pytest.mark.parametrize("cache", ["none", "memory", "mmap"])
def test_broken_files_are_skipped_if_asked(photos, cache, tmp_path, caplog):
    good = on_disk(photos, cache=cache, cache_dir=str(tmp_path / "cache"))
    content = (photos / "b.png").read_bytes()
    (photos / "broken.png").write_bytes(content[: len(content) // 2])
    (photos / "empty.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "liif"):
        source = on_disk(photos, cache=cache, cache_dir=str(tmp_path / "cache"), skip_broken=True)
    assert "2 of 5 images are broken and left out: broken.png, empty.png" in caplog.text
    assert all(same(make_sample(good, 0, n), make_sample(source, 0, n)) for n in range(6))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_file_in_a_worker_ends_in_its_name_without_hanging(photos, workers, capfd):
    content = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(content[: len(content) // 2])  # its header is whole
    source = on_disk(photos)
    before = {child.pid for child in multiprocessing.active_children()}
    with pytest.raises(UserError, match=r"b\.png: .*truncated.*skip_broken: true"):
        list(batches(source, seed=0, batch_size=2, start=0, stop=50, workers=workers))
    after = {child.pid for child in multiprocessing.active_children()}
    assert after <= before
    assert "Traceback" not in capfd.readouterr().err


def test_caches_give_the_same_samples(photos, tmp_path):
    sources = [
        on_disk(photos, cache=cache, cache_dir=str(tmp_path / "cache"))
        for cache in ("none", "memory", "mmap")
    ]
    for number in range(6):
        samples = [make_sample(source, 0, number) for source in sources]
        assert same(samples[0], samples[1]) and same(samples[0], samples[2])


def test_an_unforeseen_error_in_a_worker_does_not_hang():
    code = """
from liif.data.loader import batches
class Source:
    def __len__(self): return 3
    def sample(self, index, rng): raise RuntimeError("unforeseen")
list(batches(Source(), seed=0, batch_size=2, start=0, stop=9, workers=1))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "RuntimeError: unforeseen" in done.stderr
