"""`liif upscale`: which pictures, where to, what is kept, what is told."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers.pictures import texture
from PIL import Image

from liif.commands import upscale
from liif.core.sizes import Window
from liif.images.convert import to_image, to_tensor
from liif.images.photo import read_photo
from liif.images.rgb8 import read_image, write_image
from liif.models.checkpoint import load_checkpoint


@pytest.fixture
def up(cli, tiny_checkpoint, tmp_path, monkeypatch):
    """`liif upscale` in an empty folder, with weights."""
    monkeypatch.chdir(tmp_path)
    return lambda *options: cli("upscale", *options, "--checkpoint", tiny_checkpoint)


def picture(path, height=6, width=8, seed=0):
    write_image(Path(path), texture(height, width, seed))
    return Path(path)


def sizes(folder="."):
    """(W, H) of all pictures below, by their path."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and path.suffix != ".txt":
            with Image.open(path) as image:
                found[str(path)] = image.size
    return found


# Where results go


def test_beside_by_default_and_done_ones_are_no_inputs(up):
    picture("a.png"), picture("b.jpg")
    assert up("a.png", "b.jpg", "c.png", "--scale", "2")[0] == 1  # c.png is missing
    assert up("a.png", "--scale", "2,3.5")[0] == 0
    assert up("a.png", "--size", "20x12")[0] == 0
    results = {"a-x2.png": (16, 12), "b-x2.jpg": (16, 12), "a-x2,3.5.png": (28, 12)}
    assert sizes() == {"a.png": (8, 6), "b.jpg": (8, 6), **results, "a-x2,2.5.png": (20, 12)}
    before = {name: os.stat(name).st_mtime_ns for name in results}
    status, _, err = up(".", "--scale", "2", "--overwrite")  # all that is there, results too
    assert status == 0 and "a-x2-x2.png" not in sizes()
    assert os.stat("a-x2.png").st_mtime_ns > before["a-x2.png"]
    assert "a-x2,3.5-x2.png" in sizes() and "a-x2.png: 16×12 px" in err


def test_a_name_tells_the_scale_as_it_was_typed(up):
    """Not what rounded sides make of it: 30 for 8 and 22 for 6."""
    picture("a.png")
    assert up("a.png", "--scale", "3.7")[0] == 0
    assert sizes()["a-x3.7.png"] == (30, 22)


def test_the_second_path_is_the_result_if_nothing_is_there(up):
    picture("a.png")
    assert up("a.png", "new/b.png", "--scale", "2")[0] == 0
    assert up("a.png", "folder/", "--scale", "3")[0] == 0
    assert up("a.png", "big/{stem}_{width}x{height}.tif", "--scale", "3")[0] == 0
    wanted = {"new/b.png": (16, 12), "folder/a.png": (24, 18), "big/a_24x18.tif": (24, 18)}
    assert sizes() == {"a.png": (8, 6), **wanted}
    for name, said in (("new/b.png", "exists already"), ("new", "is a folder already")):
        status, _, err = up("a.png", name, "--scale", "5", "--overwrite")
        assert status == 1 and f"{name}: {said}; for the result there, say --output" in err
    assert sizes()["new/b.png"] == (16, 12)


def test_folders_are_recursive_resumable_and_keep_their_names(up):
    for name in ("in/a.png", "in/sub/deep/b.jpg", "in/sub/c.tif", "in/.hidden.png"):
        picture(name)
    Path("in/notes.txt").touch()
    write_image(Path("in/d.bmp"), texture(4, 4))
    Path("in/d.bmp").rename("in/d.ppm")  # told by content, written by suffix
    assert up("in", "--output", "in/out", "--scale", "2")[0] == 0
    names = {"a.png", "sub/deep/b.jpg", "sub/c.tif", "d.ppm"}
    assert {n for n in sizes() if n.startswith("in/out")} == {f"in/out/{n}" for n in names}
    Path("in/out/a.png").unlink()
    old = os.stat("in/out/d.ppm").st_mtime_ns
    status, _, err = up("in", "--output", "in/out", "--scale", "2")
    assert status == 0 and "3 of 4 were done already" in err and "out/a.png: 16×12 px" in err
    assert os.stat("in/out/d.ppm").st_mtime_ns == old
    assert up("in", "--output", "in/out", "--scale", "2", "--overwrite")[0] == 0
    assert os.stat("in/out/d.ppm").st_mtime_ns > old


def test_patterns_of_files_that_no_shell_expanded(up):
    for name in ("p/a.png", "p/b.png", "p/c.jpg", "p/[x].png"):
        picture(name)
    assert up("p/*.png", "--output", "o/", "--scale", "2")[0] == 0
    assert set(os.listdir("o")) == {"a.png", "b.png", "[x].png"}
    assert up("p/[x].png", "--output", "x.png", "--scale", "2")[0] == 0
    assert "p/*.webp: matches no file" in up("p/*.webp", "--scale", "2")[2]


@pytest.mark.parametrize("name", ["ünï cödé.png", "new\nline.png", "a{b}[1] %s.png", "-x.png"])
def test_awkward_names(up, name):
    picture(f"in/{name}")
    assert up("in", "--output", "out", "--scale", "2")[0] == 0
    assert os.listdir("out") == [name]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["in", "--output", "o.png"], "o.png: one file for several pictures"),
        (["in/a.png", "in/b.png", "--output", "o.png"], "o.png: one file for several pictures"),
        (["in/a.png", "--output", "o.xcf"], "o.xcf: cannot write this format; use one of .png"),
        (["in", "--output", "{stem}.xcf"], "must end in {suffix} or one of .png"),
        (["in", "--output", "{stm}.png"], "{stm} is unknown; there are {stem} {suffix}"),
        (["in", "--output", "{stem:.3}.png"], "{stem} is unknown"),
        (["in", "--output", "{stem.__class__}.png"], "{stem.__class__} is unknown"),
        (["in", "--output", "{stem.png"], "expected '}' before end of string"),
        (["in", "--output", "o{scale}.png"], "all results would have one name"),
        (["in", "--output", "in"], "the result would take the place of an input"),
        (["in/a.png", "--output", "in/b.png"], "in/b.png: exists already"),
        (["in", "--output", "{stem}.png"], "its result would be a.png, another's, too"),
        (["in/a.png", "--output", "in/a.png", "--overwrite"], "would take the place of an input"),
        (["in/a.png", "--output", "link.png", "--overwrite"], "would take the place of an input"),
        (["empty"], "empty: no pictures here; looked for .png"),
        (["in/a.png", "--output", "x.jpg", "--bits", "16"], "JPEG holds 8 bits; use .png or .tif"),
        (["in/a.png", "--output", "in/a.png/x.png"], "in/a.png/x.png: cannot be written"),
        (["in/a.png", "--crop", "1,1,8,2"], "a.png: has 8×6 px; --crop reaches beyond"),
        (["in/a.png", "--crop", "1,1,0,2"], "1,1,0,2: must be X,Y,W,H"),
        (["in/a.png", "--crop", "nan,1,1,2"], "nan,1,1,2: must be X,Y,W,H"),
        (["in/a.png", "--width", "0"], "must be a whole number of pixels"),
        (["in/a.png", "--box", "1,1,2,2"], "--box and --reference belong to --compare"),
        (["in", "--compare", "x.png"], "--compare is for one picture, not 3"),
    ],
)  # fmt: skip
def test_what_cannot_be(up, options, said):
    for name in ("in/a.png", "in/b.png", "in/sub/a.png"):
        picture(name)
    Path("empty").mkdir()
    Path("link.png").symlink_to("in/a.png")
    before = {name: Path(name).read_bytes() for name in sizes()}
    size = () if "--width" in options else ("--scale", "2")
    status, out, err = up(*options, *size)
    assert status == 1 and out == "" and said in err
    assert {name: Path(name).read_bytes() for name in before} == before


def test_bad_files_do_not_stop_the_rest(up, tmp_path):
    for i, name in enumerate(("in/a.png", "in/b.png", "in/c.png", "in/d.png")):
        picture(name, seed=i)
    Path("in/b.png").write_bytes(Path("in/b.png").read_bytes()[:150])
    Path("in/c.png").write_bytes(b"")
    Path("in/e\nf.jpg").write_text("no picture")
    status, _, err = up("in", "--output", "out", "--scale", "2")
    assert status == 1 and sorted(os.listdir("out")) == ["a.png", "d.png"]
    listed = err[err.index("error: 3 of 5 pictures failed:") :].splitlines()[1:]
    assert len(listed) == 3 and all(line.startswith(f"  {tmp_path}/in/") for line in listed)
    assert any("e\\nf.jpg: cannot read the image: not an image" in line for line in listed)
    assert up("in", "--output", "out", "--scale", "2")[0] == 1  # and again, the good ones done


def test_a_full_disk_leaves_nothing(up, monkeypatch):
    picture("a.png")

    def full(*_):
        raise OSError(28, "No space left on device")

    for name, place in (("x.png", "png.PngWriter.write"), ("x.tif", "tiff._tiles")):
        with monkeypatch.context() as patch:
            patch.setattr(f"liif.images.{place}", full)
            status, _, err = up("a.png", name, "--scale", "2")
        assert status == 1 and f"{name}: cannot write the image: [Errno 28]" in err
    assert os.listdir() == ["a.png"]


@pytest.mark.parametrize("suffix", ["tif", "webp"])
def test_an_interruption_leaves_nothing(tiny_checkpoint, tmp_path, suffix):
    picture(tmp_path / "a.png", 40, 60)
    command = [
        *(sys.executable, "-m", "liif", "upscale", "a.png", f"out/x.{suffix}"),
        *("--checkpoint", str(tiny_checkpoint), "--size", "16000x16000"),
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    end = time.time() + 120
    while not list(tmp_path.glob("out/.*.tmp")) and process.poll() is None and time.time() < end:
        time.sleep(0.05)
        if suffix == "webp" and (tmp_path / "out").exists():
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in err
    assert os.listdir(tmp_path / "out") == []


# What is in them


def test_a_window_of_the_upright_picture(up, tiny_checkpoint):
    image, exif = texture(20, 30), Image.Exif()
    exif[274] = 6
    Image.fromarray(image).save("in.png", exif=exif)
    assert up("in.png", "out.png", "--crop", "2.5,7,12,10.5", "--scale", "4")[0] == 0
    upright = np.ascontiguousarray(np.rot90(image, -1))
    window = Window(7, 2.5, 10.5, 12)
    wanted = load_checkpoint(tiny_checkpoint).upscale(to_tensor(upright), scale=4.0, window=window)
    assert np.array_equal(read_image(Path("out.png")), to_image(wanted))


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_animations_frame_by_frame(up, suffix, has_alpha):
    if suffix == ".avif" and suffix not in upscale.TARGETS:
        pytest.skip("this Pillow has no AVIF")
    frames = [Image.fromarray(np.roll(texture(12, 16), 4 * i, axis=1)) for i in range(3)]
    for i, frame in enumerate(frames):
        if has_alpha:
            mask = np.full((12, 16), 255, np.uint8)
            mask[:, : 4 * i + 4] = 0
            frame.putalpha(Image.fromarray(mask))
    options = (
        {"lossless": True} if suffix == ".webp" else {"disposal": 2} if suffix == ".gif" else {}
    )
    times = {"duration": [100, 200, 300], "loop": 0}
    frames[0].save(f"in{suffix}", save_all=True, append_images=frames[1:], **times, **options)
    assert up(f"in{suffix}", f"out{suffix}", "--scale", "3")[0] == 0
    ours, before = (list(read_photo(Path(f"{name}{suffix}"))) for name in ("out", "in"))
    assert [photo.size for photo in ours] == [(36, 48)] * 3
    assert [photo.duration for photo in ours] == [100, 200, 300]
    assert ours[0].loop == before[0].loop
    for i, photo in enumerate(ours):
        assert (photo.alpha is not None) == has_alpha
        if has_alpha:
            wrong = (photo.alpha >= 128) != (before[i].alpha.repeat(3, 0).repeat(3, 1) >= 128)
            assert not wrong[:, : 12 * i + 9].any() and not wrong[:, 12 * i + 15 :].any()
    assert up(f"in{suffix}", "still.jpg", "--scale", "3")[0] == 0
    assert (
        "still.jpg: only the first of 3 frames"
        in up(f"in{suffix}", "--output", "still.jpg", "--overwrite", "--scale", "3")[2]
    )


@pytest.mark.parametrize(
    ("source", "target", "options", "mode"),
    [
        ("16.tif", "x.png", [], "16"), ("16.tif", "x.jpg", [], "8"),
        ("16.tif", "x.tif", ["--bits", "8"], "8"), ("8.png", "x.tif", ["--bits", "16"], "16"),
    ],
)  # fmt: skip
def test_bits(up, source, target, options, mode):
    tifffile.imwrite("16.tif", texture(6, 8).astype(np.uint16) * 257, photometric="rgb")
    picture("8.png")
    status, _, err = up(source, target, "--scale", "2", *options)
    assert status == 0
    assert next(read_photo(Path(target))).bits == int(mode)
    assert ("8 of 16 bits" in err) == (target == "x.jpg")


def test_a_very_long_picture(up):
    write_image(Path("long.png"), texture(4, 30000))
    assert up("long.png", "out.tif", "--scale", "1.5", "--memory", "50M")[0] == 0
    assert tifffile.imread("out.tif").shape == (6, 45000, 3)
    status, _, err = up("long.png", "out.webp", "--scale", "1.5")
    assert status == 1 and "45000×6 px is more than WEBP can hold" in err


def test_comparisons(up):
    write_image(Path("lr.png"), texture(20, 30))
    write_image(Path("hr.png"), texture(60, 90))
    options = ("--compare", "sheet.png", "--box", "3,4,10,8")
    status, _, err = up("lr.png", *options, "--reference", "hr.png")
    assert status == 0 and "sheet.png: lr.png, ×3: PSNR of the whole" in err
    assert sorted(os.listdir()) == ["hr.png", "lr.png", "sheet.png"]
    assert up("lr.png", "large.png", *options, "--scale", "2")[0] == 0
    assert sizes()["large.png"] == (60, 40)
