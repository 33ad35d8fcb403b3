"""Training samples of given pairs of images: fixed pairs, and varied sizes."""

import logging

import numpy as np
import pytest
from helpers.pictures import texture
from helpers.samples import (
    MIRRORS,
    fixed_pairs,
    indices,
    mirrored,
    positions,
    size_varied,
    whole_crop,
)
from PIL import Image

from liif.core.errors import UserError
from liif.data.fixed_pairs import FixedPairs
from liif.data.loader import make_sample
from liif.data.size_varied import SizeVaried
from liif.images.rgb8 import write_image

# Fixed pairs


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
    assert source.scales == [2, 2] and source.order == [(0, 0), (1, 1)]
    assert make_sample(source, 0, 0).cell.tolist() == [np.float32(0.2)] * 2


def test_pairs_of_different_scales_are_named_on_both_sides(tmp_path):
    config = pairs_on_disk(tmp_path, [(10, 12)], [(20, 36)])
    with pytest.raises(UserError) as caught:
        config.open_source(str(tmp_path))
    for part in ("lr/0x2.png (12×10 px)", "hr/0.png (36×20 px)", "integer scale"):
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
