"""`liif upscale`: nothing about one picture, name or folder stops the others; all are named."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import texture
from PIL import Image

from liif.images.rgb8 import walk, write_image
from liif.inference import files


@pytest.fixture
def up(cli, tiny_checkpoint, folder):
    exact = ("--checkpoint", tiny_checkpoint, "--precision", "float32")
    return lambda *options: cli("upscale", *options, *exact)


def picture(name):
    write_image(Path(name), texture(6, 8))


def failed(err):
    """The lines of the list at the end."""
    title, *lines = err[err.index("error: ") :].splitlines()
    assert title.endswith("pictures failed:") and int(title.split()[1]) == len(lines)
    return lines


def test_every_awkward_name_and_file_is_done_or_named(up):
    long = "n" * 248
    for name in ("a.png", "sub/b.jpg", "ü.webp", "two  spaces .png", "%s {0}.png", f"{long}.png"):
        picture(f"in/{name}")
    picture(f"in/{'é' * 120}.PNG")  # 248 bytes with the scale; the other one is too long with it
    Path("in/empty.png").touch()
    Path("in/text.jpg").write_text("no picture")
    Path("in/broken.png").symlink_to("nowhere")
    Path("in/loop.png").symlink_to("loop.png")
    Path("in/folder.png").mkdir()
    os.mkfifo("in/pipe.png")
    cut = Path("in/a.png").read_bytes()[:90]
    Path("in/cut.png").write_bytes(cut)
    status, _, err = up("in", "missing.png", "nothing*.png", "-s", "10")
    assert status == 1
    lines = failed(err)
    bad = ("empty.png", "text.jpg", "broken.png", "loop.png", "pipe.png", "cut.png", "missing.png")
    for name in (*bad, "nothing*.png", f"{long}-x10.png: cannot be written: File name too long"):
        assert sum(name in line for line in lines) == 1, (name, lines)
    done = ("a", "sub/b", "ü", "two  spaces ", "%s {0}", "é" * 120)
    found = {str(p.with_suffix("")) for p in Path("in").rglob("*-x10.*")}
    assert {f"in/{name}-x10" for name in done} == found


def test_a_folder_without_pictures_or_rights_stops_no_other(up, monkeypatch):
    picture("in/a.png"), picture("in/closed/b.png"), Path("empty").mkdir()
    picture("other/c.png")

    def walk_without_rights(root, on_error):
        for place, names in walk(root):
            if place.endswith("closed"):
                on_error(PermissionError(13, "Permission denied", place))
            else:
                yield place, names

    monkeypatch.setattr("liif.images.jobs.walk", walk_without_rights)
    status, _, err = up("in", "empty", "other", "-s", "2")
    assert status == 1 and Path("in/a-x2.png").exists() and Path("other/c-x2.png").exists()
    denied, empty = failed(err)
    assert denied == "  in: cannot list in/closed: Permission denied" and "empty: no pict" in empty


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError("[enforce fail] can't allocate memory"), "not enough memory: "),
        (MemoryError(), "not enough memory"),
        (KeyError("odd"), "KeyError: 'odd'"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
    ],
)
def test_an_error_in_the_work_on_one_picture(up, monkeypatch, error, said):
    for name in "abc":
        picture(f"in/{name}.png")

    def enlarge(model, photo, *arguments, enlarged=files.enlarge_photo):
        if next(counted) == 1:
            raise error
        return enlarged(model, photo, *arguments)

    counted = iter(range(9))
    monkeypatch.setattr(files, "enlarge_photo", enlarge)
    status, _, err = up("in", "-o", "out", "-s", "2")
    assert status == 1 and sorted(os.listdir("out")) == ["a.png", "c.png"]
    (line,) = failed(err)
    assert "b.png: " in line and said in line
    status, _, err = up("in", "-o", "out", "-s", "2")
    assert status == 0 and "2 of 3 exist already" in err


def test_results_that_one_name_leads_to(up, monkeypatch):
    """As on a disk that ignores case: the second result does not replace the first."""
    picture("in/a.png"), picture("in/A.png")
    Path("out").mkdir()

    def write(path, *arguments, written=files.formats.write_photo, **options):
        written(path, *arguments, **options)
        if path.name == "A.png":
            Path("out/a.png").hardlink_to(path)

    monkeypatch.setattr(files.formats, "write_photo", write)
    status, _, err = up("in", "-o", "out", "-s", "2")
    assert status == 1 and "out/a.png: is the result of another picture" in err


def test_a_file_that_appears_in_the_meantime_is_kept(up, monkeypatch):
    picture("in/a.png"), picture("in/b.png")

    def write(path, *arguments, written=files.formats.write_photo, **options):
        written(path, *arguments, **options)
        Path("out/b.png").write_text("mine")

    monkeypatch.setattr(files.formats, "write_photo", write)
    assert up("in", "-o", "out", "-s", "2")[0] == 1
    assert Path("out/b.png").read_text() == "mine"


def test_quality(up):
    write_image(Path("a.png"), np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8))
    sizes = {}
    for suffix in ("jpg", "webp"):
        for quality in (10, 90):
            name = f"{quality}.{suffix}"
            assert up("a.png", "-o", name, "-s", "4", "--quality", quality)[0] == 0
            sizes[name] = Path(name).stat().st_size
        assert sizes[f"10.{suffix}"] < 0.9 * sizes[f"90.{suffix}"]
    status, _, err = up("a.png", "-o", "x.png", "-s", "4", "--quality", "90")
    assert status == 1 and "x.png: PNG is without losses; --quality is for JPEG WEBP AVIF" in err
    assert "must be a whole number from 1 to 100" in up("a.png", "--quality", "0")[2]
    with Image.open("10.webp") as image:
        assert image.size == (36, 36)


def test_a_file_that_vanishes_while_the_work_is_planned(up, monkeypatch):
    picture("in/a.png"), picture("in/b.png")

    def fingerprint(path):
        if path.name == "a.png":
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return path.name

    monkeypatch.setattr("liif.images.jobs.fingerprint", fingerprint)
    status, _, err = up("in", "-s", "2")
    assert status == 1 and failed(err) == ["  in/a.png: No such file or directory"]
    assert Path("in/b-x2.png").exists()
