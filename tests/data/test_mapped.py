"""The memory-mapped cache of a folder is built once, rebuilt if necessary, never incomplete."""

import errno
import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import EXPECTED, assert_holds_all, cache_folders, noise, read_all, save_noise

from liif.core.errors import UserError
from liif.data import mapped
from liif.data.cache import open_images
from liif.images.rgb8 import list_images, read_image


def test_the_cache_is_built_once_and_reused(noise_folder, cache_dir, decoded):
    assert_holds_all(open_images(noise_folder, cache="mmap"))
    assert sorted(decoded) == ["a.png", "b.png", "c.png"]
    (made,) = cache_folders(cache_dir)
    assert sorted(os.listdir(made)) == ["index.json", "pixels.u8"]
    pixels = np.fromfile(made / "pixels.u8", np.uint8)
    assert np.array_equal(pixels, np.concatenate([image.reshape(-1) for image in EXPECTED]))
    decoded.clear()
    assert_holds_all(open_images(noise_folder, cache="mmap"))
    assert decoded == [] and cache_folders(cache_dir) == [made]


def test_relative_and_absolute_paths_share_a_cache(noise_folder, cache_dir, decoded, monkeypatch):
    open_images(noise_folder, cache="mmap")
    decoded.clear()
    monkeypatch.chdir(noise_folder.parent)
    assert_holds_all(open_images(Path(noise_folder.name), cache="mmap"))
    assert decoded == []


def test_the_place_of_the_cache(noise_folder, tmp_path, monkeypatch):
    def made_in(place):
        return any(path.name == "pixels.u8" for path in place.rglob("*"))

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LIIF_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    open_images(noise_folder, cache="mmap")
    assert made_in(tmp_path / "home" / ".cache" / "liif")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    open_images(noise_folder, cache="mmap")
    assert made_in(tmp_path / "xdg" / "liif")
    monkeypatch.setenv("LIIF_CACHE", str(tmp_path / "own"))
    open_images(noise_folder, cache="mmap")
    assert made_in(tmp_path / "own")
    open_images(noise_folder, cache="mmap", cache_dir=tmp_path / "given")
    assert made_in(tmp_path / "given")


def rewrite(folder):
    save_noise(folder / "b.png", 9, 5, 7)


def rewrite_and_keep_the_time(folder):
    before = (folder / "b.png").stat()
    save_noise(folder / "b.png", 9, 6, 7)
    assert (folder / "b.png").stat().st_size != before.st_size
    os.utime(folder / "b.png", ns=(before.st_atime_ns, before.st_mtime_ns))


def touch(folder):
    now = time.time_ns()
    os.utime(folder / "b.png", ns=(now, now + 12345))


def add(folder):
    save_noise(folder / "z.png", 2, 3, 9)


def remove(folder):
    (folder / "a.png").unlink()


def rename(folder):
    (folder / "a.png").rename(folder / "d.png")


@pytest.mark.parametrize("change", [rewrite, rewrite_and_keep_the_time, touch, add, remove, rename])
def test_the_cache_is_rebuilt_when_the_folder_changes(noise_folder, cache_dir, decoded, change):
    old = open_images(noise_folder, cache="mmap")
    (stale,) = cache_folders(cache_dir)
    decoded.clear()
    change(noise_folder)
    store = open_images(noise_folder, cache="mmap")
    assert len(decoded) == len(store)
    files = list_images(noise_folder)
    assert store.names == [file.relative_to(noise_folder).as_posix() for file in files]
    for i, file in enumerate(files):
        assert np.array_equal(store[i], read_image(file))
    (fresh,) = cache_folders(cache_dir)
    assert fresh != stale
    assert np.array_equal(old[0], EXPECTED[0])  # who has the old one open keeps it


def test_caches_of_other_folders_are_left_alone(noise_folder, tmp_path, cache_dir):
    save_noise(tmp_path / "other" / "x.png")
    open_images(tmp_path / "other", cache="mmap")
    open_images(noise_folder, cache="mmap")
    rewrite(noise_folder)
    open_images(noise_folder, cache="mmap")
    assert len(cache_folders(cache_dir)) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_an_interrupted_build_is_not_used_as_a_cache(noise_folder, cache_dir, monkeypatch, error):
    def interrupted(path, form):
        if path.name == "b.png":
            raise error
        return read_image(path)

    with monkeypatch.context() as patch:
        patch.setattr(mapped, "read_pixels", interrupted)
        with pytest.raises((KeyboardInterrupt, UserError)) as caught:
            open_images(noise_folder, cache="mmap")
    if isinstance(error, OSError):
        assert "No space left" in str(caught.value) and "LIIF_CACHE" in str(caught.value)
    assert cache_folders(cache_dir) == []
    assert_holds_all(open_images(noise_folder, cache="mmap"))


def test_leftovers_of_a_killed_build_are_removed(noise_folder, cache_dir, decoded):
    open_images(noise_folder, cache="mmap")
    (made,) = cache_folders(cache_dir)
    leftover = made.with_name(f"{made.name}-0123.tmp")
    made.rename(leftover)
    (leftover / "index.json").unlink()
    foreign = cache_dir / "somebody-elses.tmp"
    foreign.mkdir()
    decoded.clear()
    assert_holds_all(open_images(noise_folder, cache="mmap"))
    assert len(decoded) == 3
    assert cache_folders(cache_dir) == sorted([made, foreign])


@pytest.mark.parametrize("damage", ["short", "no pixels", "no index", "bad index", "wrong index"])
def test_a_damaged_cache_is_rebuilt(noise_folder, cache_dir, damage):
    open_images(noise_folder, cache="mmap")
    (made,) = cache_folders(cache_dir)
    if damage == "short":
        os.truncate(made / "pixels.u8", 100)
    elif damage == "no pixels":
        (made / "pixels.u8").unlink()
    elif damage == "no index":
        (made / "index.json").unlink()
    else:
        (made / "index.json").write_text("{" if damage == "bad index" else '{"sizes": [1]}')
    assert_holds_all(open_images(noise_folder, cache="mmap"))
    assert cache_folders(cache_dir) == [made]


def open_slowly(folder, start):
    """In a process of its own: open a store while another does, tell what was decoded."""
    names = []

    def read(path, form):
        names.append(path.name)
        time.sleep(0.2)
        return read_image(path)

    mapped.read_pixels = read
    time.sleep(max(0.0, start - time.time()))
    images, _ = read_all(open_images(folder, cache="mmap"))
    return images, len(names)


@pytest.mark.parametrize("locks", [True, False])
def test_two_processes_at_once_both_get_a_complete_cache(
    noise_folder, cache_dir, monkeypatch, locks
):
    if not locks:  # as on a network disk without them; the workers are forked from here

        def no_locks(*args):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr("fcntl.flock", no_locks)
    start = time.time() + 0.5
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        jobs = [pool.submit(open_slowly, noise_folder, start) for _ in range(2)]
        results = [job.result(timeout=60) for job in jobs]
    for images, _ in results:
        assert all(np.array_equal(a, b) for a, b in zip(images, EXPECTED, strict=True))
    assert sorted(count for _, count in results) == ([0, 3] if locks else [3, 3])
    assert len(cache_folders(cache_dir)) == 1
    assert_holds_all(open_images(noise_folder, cache="mmap"))


def test_a_cache_folder_that_cannot_be_written(noise_folder, tmp_path, cache_dir, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as caught:
        open_images(noise_folder, cache="mmap", cache_dir=tmp_path / "file" / "cache")
    message = str(caught.value)
    assert str(tmp_path / "file" / "cache") in message
    assert "LIIF_CACHE" in message and "cache: none" in message

    open_images(noise_folder, cache="mmap")  # a cache that is there needs no writing

    def closed(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", closed)
        patch.setattr(mapped, "_lock", closed)
        assert_holds_all(open_images(noise_folder, cache="mmap"))
    rewrite(noise_folder)
    monkeypatch.setattr(mapped, "_lock", closed)
    with pytest.raises(UserError, match=r"cache.*Permission denied"):
        open_images(noise_folder, cache="mmap")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_folder(noise_folder, cache_dir):
    cache_dir.mkdir()
    cache_dir.chmod(0o500)
    with pytest.raises(UserError, match="LIIF_CACHE"):
        open_images(noise_folder, cache="mmap")
    cache_dir.chmod(0o700)


def test_a_disk_without_room_for_the_cache(noise_folder, cache_dir, monkeypatch, decoded):
    needed = 3 * (6 * 8 + 9 * 5 + 4 * 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 674, 326))
    with pytest.raises(UserError) as caught:
        open_images(noise_folder, cache="mmap")
    message = str(caught.value)
    for part in [str(cache_dir), f"{needed} bytes", "326 bytes", "LIIF_CACHE", "cache: none"]:
        assert part in message
    assert decoded == [] and cache_folders(cache_dir) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 0, needed))
    assert_holds_all(open_images(noise_folder, cache="mmap"))


def test_a_disk_that_fills_up_during_the_build(noise_folder, cache_dir, monkeypatch):
    free = iter([10_000, 10_000, 150])  # before, before the first image, before the second
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10_000, 0, next(free))
    )
    with pytest.raises(UserError, match=r"183 bytes needed, 150 bytes free"):
        open_images(noise_folder, cache="mmap")
    assert cache_folders(cache_dir) == []


def test_progress_is_shown_on_terminals_only(noise_folder, cache_dir, capsys, monkeypatch):
    open_images(noise_folder, cache="mmap")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("liif.core.progress.shows_progress", lambda: True)
    open_images(noise_folder, cache="memory")
    shown = capsys.readouterr()
    assert "3/3" in shown.err and "image/s" in shown.err and shown.out == ""


def test_images_in_flight_are_bounded(tmp_path, cache_dir, monkeypatch):
    for i in range(40):
        save_noise(tmp_path / "photos" / f"{i:02}.png", 2, 2, i)
    started, written = [], []

    def read(path, form):
        started.append(path)
        return read_image(path)

    def check(folder, needed):
        written.append(needed)
        time.sleep(0.005)
        assert len(started) - (len(written) - 2) <= 2 * mapped._THREADS + 3

    monkeypatch.setattr(mapped, "read_pixels", read)
    monkeypatch.setattr(mapped, "_check_cache_room", check)
    store = open_images(tmp_path / "photos", cache="mmap")
    assert len(store) == 40 and np.array_equal(store[17], noise(2, 2, 17))
