"""Files behind training samples: too small, broken, cached, and workers that meet them."""

import logging
import multiprocessing
import sys

import pytest
from helpers import processes
from helpers.pictures import texture
from helpers.samples import same

from liif.core.errors import UserError
from liif.data.loader import batches, make_sample
from liif.data.random_scale import RandomScale
from liif.images.rgb8 import write_image


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
    done = processes.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == 1 and "RuntimeError: unforeseen" in done.stderr
