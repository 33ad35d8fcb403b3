"""Stores of 16 bits and n channels; several folders with weights; published pairs in validation."""

import json
from collections import Counter

import numpy as np
import pytest
from helpers.pictures import CACHES, cache_folders, save_noise, texture

from liif.core.errors import UserError
from liif.data.cache import open_images
from liif.data.loader import batches, image_of, make_sample
from liif.data.pairs import open_pairs
from liif.data.paths import WeightedFolder
from liif.data.random_scale import RandomScale
from liif.images.channels import PixelFormat, read_pixels
from liif.images.rgb8 import write_image

DEEP = PixelFormat(5, 16)


@pytest.fixture
def arrays(tmp_path):
    """Three arrays (H, W, 5) of 16 bits."""
    random = np.random.default_rng(0)
    (tmp_path / "arrays").mkdir()
    for name, height in (("a", 9), ("b", 12), ("c", 10)):
        array = random.integers(0, 65536, (height, 11, 5), dtype=np.uint16)
        np.save(tmp_path / "arrays" / f"{name}.npy", array)
    return tmp_path / "arrays"


@pytest.mark.parametrize("cache", CACHES)
def test_every_store_keeps_16_bits_and_channels(arrays, cache_dir, cache):
    for _ in range(2):  # built, then found
        store = open_images(arrays, DEEP, cache=cache)
        assert store.sizes == [(9, 11), (12, 11), (10, 11)] and store.form == DEEP
        for i, name in enumerate(store.names):
            assert store[i].dtype == np.uint16
            assert np.array_equal(store[i], np.load(arrays / name))


def test_the_index_states_channels_and_dtype(arrays, cache_dir):
    open_images(arrays, DEEP, cache="mmap")
    (folder,) = cache_folders(cache_dir)
    index = json.loads((folder / "index.json").read_text())
    assert (index["channels"], index["dtype"]) == (5, "uint16")
    assert (folder / "pixels.u16").stat().st_size == 31 * 11 * 5 * 2
    index["channels"] = 10
    (folder / "index.json").write_text(json.dumps(index))
    again = open_images(arrays, DEEP, cache="mmap")  # rebuilt
    assert np.array_equal(again[2], np.load(arrays / "c.npy"))


def test_formats_of_a_folder_have_caches_of_their_own(arrays, cache_dir):
    ranged = DEEP._replace(range=(0, 65535))
    a, b = (open_images(arrays, form, cache="mmap") for form in (DEEP, ranged))
    assert len(cache_folders(cache_dir)) == 2
    assert b[0].dtype == np.float32
    np.testing.assert_allclose(b[0], a[0] / 65535, atol=1e-7)


def test_a_cache_of_version_0_2_is_used(noise_folder, cache_dir, decoded):
    """Its index has neither channels nor bits."""
    open_images(noise_folder, cache="mmap")
    (folder,) = cache_folders(cache_dir)
    index = json.loads((folder / "index.json").read_text())
    for key in ("channels", "dtype", "range", "deep"):
        del index[key]
    (folder / "index.json").write_text(json.dumps(index))
    decoded.clear()
    assert len(open_images(noise_folder, cache="mmap")) == 3 and decoded == []


# Several folders


@pytest.fixture
def mixed(tmp_path):
    for folder, count in (("a", 3), ("b", 2)):
        for i in range(count):
            save_noise(tmp_path / folder / f"{i}.png", 12, 12, i)
    return tmp_path


def source_of(root, images):
    values = {"patch": 4, "scale": (1, 2), "queries": 9, "cache": "none"}
    return RandomScale(images=images, **values).open_source(str(root))


def test_visits_follow_the_weights(mixed):
    source = source_of(mixed, ["a", {"path": "b", "weight": 3}])
    assert len(source) == 3 + 2 * 3
    for turn in range(3):
        numbers = range(turn * 9, turn * 9 + 9)
        counts = Counter(source.name(image_of(source, 5, n)) for n in numbers)
        expected = {f"{mixed}/a/{i}.png": 1 for i in range(3)}
        assert counts == {**expected, f"{mixed}/b/0.png": 3, f"{mixed}/b/1.png": 3}


def test_excluded_files_are_left_out(mixed, caplog):
    source = source_of(mixed, [{"path": "a", "exclude": ["1.png", "no.png"]}, "b"])
    assert "a: exclude: no such image: no.png" in caplog.text and "1.png" not in caplog.text
    names = [source.name(i) for i in range(len(source))]
    assert names == [f"{mixed}/{name}" for name in ("a/0.png", "a/2.png", "b/0.png", "b/1.png")]
    with pytest.raises(UserError, match="exclude: leaves no image"):
        source_of(mixed, [{"path": "b", "exclude": ["0.png", "1.png"]}])
    assert "exclude" not in str(WeightedFolder(path="b").model_dump())  # as older versions saved it
    for exclude in ("0.png", [0], None):
        with pytest.raises(ValueError, match=r"exclude: \[FILE, …\], not "):
            source_of(mixed, [{"path": "b", "exclude": exclude}])


def test_samples_of_folders_are_independent_of_workers(mixed):
    source = source_of(mixed, ["a", {"path": "b", "weight": 2}])
    settings = {"seed": 1, "batch_size": 3, "stop": 4}
    alone = list(batches(source, start=0, **settings))
    parallel = list(batches(source, start=1, workers=2, **settings))
    for a, b in zip(alone[1:], parallel, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))


def test_one_folder_in_a_list_is_that_folder(mixed):
    plain = source_of(mixed, "a")
    for images in (["a"], [{"path": "a"}]):
        listed = source_of(mixed, images)
        for number in range(6):
            pair = make_sample(plain, 3, number), make_sample(listed, 3, number)
            assert all(np.array_equal(x, y) for x, y in zip(*pair, strict=True))


# Published low-resolution images


def test_a_crop_of_published_pairs_is_aligned(tmp_path):
    hr = texture(41, 50)
    for scale in (2, 3):
        write_image(tmp_path / "hr" / "a.png", hr)
        h, w = 41 // scale, 50 // scale
        write_image(tmp_path / f"X{scale}" / f"ax{scale}.png", hr[::scale, ::scale][:h, :w])
        pairs = open_pairs(
            tmp_path / "hr", scale=(scale, scale), lr=tmp_path / f"X{scale}", crop=20, limit=1
        )
        (pair,) = pairs
        side = 20 // scale
        assert pair.lr.shape == (side, side, 3) and pair.hr.shape == (side * scale,) * 2 + (3,)
        assert np.array_equal(pair.hr[::scale, ::scale], pair.lr)


def test_low_resolution_images_of_other_channels_must_be_published(tmp_path):
    write_image(tmp_path / "hr" / "a.png", texture(20, 20))
    with pytest.raises(UserError, match=r"of 4 channels cannot be made from images of 3 .*`lr`"):
        open_pairs(tmp_path / "hr", scale=(2, 2), forms=(PixelFormat(4), PixelFormat(3)))


def test_arrays_are_listed_only_without_images(arrays):
    assert read_pixels(arrays / "a.npy", DEEP).shape == (9, 11, 5)
    write_image(arrays / "z.png", texture(8, 8))
    assert open_images(arrays).names == ["z.png"]
