"""The three ways to store a folder of images, also with broken files."""

import logging
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from helpers.pictures import (
    CACHES,
    EXPECTED,
    UPRIGHT,
    assert_holds_all,
    cache_folders,
    exif,
    noise,
    read_all,
    save_noise,
)
from PIL import Image

from liif.core.errors import UserError
from liif.data import mapped
from liif.data.cache import open_images
from liif.images.rgb8 import read_image


@pytest.mark.parametrize("cache", CACHES)
def test_every_store_holds_the_same(noise_folder, cache_dir, cache):
    store = open_images(noise_folder, cache=cache)
    assert_holds_all(store)
    assert np.array_equal(store[-1], EXPECTED[2])
    assert np.array_equal(store[np.int64(1)], EXPECTED[1])
    assert [image.shape for image in store] == [(6, 8, 3), (9, 5, 3), (4, 4, 3)]
    for index in (3, -4):
        with pytest.raises(IndexError):
            store[index]


@pytest.mark.parametrize("cache", CACHES)
def test_a_single_file_is_a_store_of_one(noise_folder, cache_dir, cache):
    store = open_images(noise_folder / "sub" / "c.png", cache=cache)
    assert store.names == ["c.png"] and store.sizes == [(4, 4)]
    assert np.array_equal(store[0], EXPECTED[2])


@pytest.mark.parametrize("cache", ["memory", "mmap"])
def test_shared_pixels_cannot_be_changed(noise_folder, cache_dir, cache):
    image = open_images(noise_folder, cache=cache)[0]
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0, 0] = 1


def test_sizes_are_known_without_decoding(noise_folder, cache_dir, monkeypatch):
    def forbidden(path, form):
        raise AssertionError("decoded")

    monkeypatch.setattr("liif.data.cache.read_pixels", forbidden)
    assert open_images(noise_folder).sizes == [(6, 8), (9, 5), (4, 4)]


def test_rotated_photographs_have_their_upright_size_everywhere(tmp_path, cache_dir):
    (tmp_path / "photos").mkdir()
    Image.fromarray(noise(3, 5)).save(tmp_path / "photos" / "x.png", exif=exif(6))
    for cache in CACHES:
        store = open_images(tmp_path / "photos", cache=cache)
        assert store.sizes == [(5, 3)]
        assert np.array_equal(store[0], UPRIGHT[6](noise(3, 5)))


@pytest.mark.parametrize("cache", CACHES)
def test_stores_can_be_sent_to_spawned_workers(noise_folder, cache_dir, cache):
    store = open_images(noise_folder, cache=cache)
    assert_holds_all(pickle.loads(pickle.dumps(store)))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        images, process = pool.submit(read_all, store).result(timeout=60)
    assert process != os.getpid()
    assert all(np.array_equal(a, b) for a, b in zip(images, EXPECTED, strict=True))


def test_a_mapping_is_not_copied_when_pickled(tmp_path, cache_dir):
    save_noise(tmp_path / "photos" / "x.png", 300, 300)
    store = open_images(tmp_path / "photos", cache="mmap")
    assert len(pickle.dumps(store)) < 1000
    again = pickle.loads(pickle.dumps(store))
    assert np.array_equal(again[0], noise(300, 300))
    with pytest.raises(ValueError, match="read-only"):
        again[0][0] = 0


# Broken files in a folder


@pytest.fixture
def broken_folder(noise_folder):
    (noise_folder / "aa.png").write_bytes(
        (noise_folder / "a.png").read_bytes()[:80]
    )  # header whole
    (noise_folder / "bb.png").write_text("no image")
    return noise_folder


@pytest.mark.parametrize("cache", CACHES)
def test_broken_files_are_skipped_and_reported_once(broken_folder, cache_dir, caplog, cache):
    for _ in range(2):  # built, then found
        caplog.clear()
        with caplog.at_level(logging.WARNING, "liif"):
            store = open_images(broken_folder, cache=cache, skip_broken=True)
        assert store.names == ["a.png", "b.png", "sub/c.png"]
        assert store.sizes == [(6, 8), (9, 5), (4, 4)]
        assert all(np.array_equal(store[i], EXPECTED[i]) for i in range(3))
        assert [name for name, _ in store.skipped] == ["aa.png", "bb.png"]
        assert all("cannot read the image" in reason for _, reason in store.skipped)
        (record,) = caplog.records
        assert record.name == "liif"
        assert "2 of 5" in record.message and "aa.png, bb.png" in record.message


@pytest.mark.parametrize("cache", CACHES)
def test_broken_files_are_an_error_unless_skipped(broken_folder, cache_dir, cache):
    with pytest.raises(UserError, match=r"skip_broken: true") as caught:
        open_images(broken_folder, cache=cache)
    # By its header alone aa.png looks whole.
    assert ("bb.png" if cache == "none" else "aa.png") in str(caught.value)


def test_a_broken_file_with_a_valid_header_is_found_when_read(broken_folder):
    (broken_folder / "bb.png").unlink()
    store = open_images(broken_folder)
    assert store.names[1] == "aa.png" and store.sizes[1] == (6, 8)
    with pytest.raises(UserError, match=r"aa\.png.*skip_broken: true"):
        store[1]
    assert np.array_equal(store[0], EXPECTED[0])


def test_a_cache_with_skipped_files_is_an_error_without_skip_broken(
    broken_folder, cache_dir, decoded
):
    open_images(broken_folder, cache="mmap", skip_broken=True)
    with pytest.raises(UserError, match=r"aa\.png.*first of 2.*skip_broken: true"):
        open_images(broken_folder, cache="mmap")
    decoded.clear()
    open_images(broken_folder, cache="mmap", skip_broken=True)
    assert sorted(decoded) == ["aa.png", "bb.png"]  # only those are tried again


def test_files_skipped_for_a_temporary_reason_are_included_again(
    noise_folder, cache_dir, monkeypatch
):
    def closed(path, form):
        if path.name == "b.png":
            raise UserError(f"{path}: cannot read the image: Permission denied")
        return read_image(path)

    with monkeypatch.context() as patch:
        patch.setattr(mapped, "read_pixels", closed)
        store = open_images(noise_folder, cache="mmap", skip_broken=True)
        assert store.names == ["a.png", "sub/c.png"]
        assert np.array_equal(store[1], EXPECTED[2])
    assert_holds_all(open_images(noise_folder, cache="mmap", skip_broken=True))
    assert len(cache_folders(cache_dir)) == 1


@pytest.mark.parametrize("cache", CACHES)
def test_a_folder_of_broken_files_only_is_an_error(tmp_path, cache_dir, cache):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "photos" / name).write_text("no image")
    with pytest.raises(UserError, match=r"all 2 images are broken.*a\.png"):
        open_images(tmp_path / "photos", cache=cache, skip_broken=True)
    if cache == "mmap":
        assert cache_folders(cache_dir) == []
