"""`liif upscale`: inputs, outputs, sizes, formats, comparisons and error messages."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from helpers.pictures import broken, texture
from PIL import Image

from liif.core.sizes import Window
from liif.images.convert import to_image, to_tensor
from liif.images.photo import read_photo
from liif.images.rgb8 import read_image, write_image
from liif.images.suffixes import TARGETS
from liif.inference import files
from liif.models.checkpoint import load_checkpoint
from liif.models.model import SRModel


@pytest.fixture
def up(cli, tiny_checkpoint, folder):
    """`liif upscale` in an empty folder, with weights, in the same precision on every machine."""
    exact = ("--checkpoint", tiny_checkpoint, "--precision", "float32")
    return lambda *options: cli("upscale", *options, *exact)


@pytest.fixture
def up_refused(refused, tiny_checkpoint, folder):
    """The error of a `liif upscale` that must fail and leave no out.png."""

    def run(*options):
        message = refused("upscale", *options, "--checkpoint", tiny_checkpoint)
        assert not Path("out.png").exists()
        return message

    return run


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
    assert up("a.png", "--size", "20x12", "--fit", "stretch")[0] == 0
    results = {"a-x2.png": (16, 12), "b-x2.jpg": (16, 12), "a-x2,3.5.png": (28, 12)}
    assert sizes() == {"a.png": (8, 6), "b.jpg": (8, 6), **results, "a-x2,2.5.png": (20, 12)}
    before = {name: os.stat(name).st_mtime_ns for name in results}
    status, _, err = up(".", "--scale", "2", "--overwrite")  # all that is there, results too
    assert status == 0 and "a-x2.png: 16×12 px" in err
    assert os.stat("a-x2.png").st_mtime_ns > before["a-x2.png"]
    assert len(sizes()) == 6  # no result is enlarged again


def test_a_name_tells_the_scale_as_it_was_typed(up):
    """Not what rounded sides make of it: 30 for 8 and 22 for 6."""
    picture("a.png")
    assert up("a.png", "--scale", "3.7")[0] == 0
    assert sizes()["a-x3.7.png"] == (30, 22)


def test_output_is_a_file_a_folder_or_a_pattern(up):
    picture("a.png")
    assert up("a.png", "-o", "new/b.png", "--scale", "2")[0] == 0
    assert up("a.png", "-o", "folder/", "--scale", "3")[0] == 0
    assert up("a.png", "-o", "big/{stem}_{width}x{height}.tif", "--scale", "3")[0] == 0
    results = {"new/b.png": (16, 12), "folder/a.png": (24, 18), "big/a_24x18.tif": (24, 18)}
    assert sizes() == {"a.png": (8, 6), **results}


@pytest.mark.parametrize("name", ["b.png", "new/b.png", "folder"])
def test_a_second_path_without_o_is_explained(up_refused, name):
    picture("a.png")
    message = up_refused("a.png", name, "--scale", "2")
    assert message == f"error: {name}: no such input; to name the result, use -o {name}\n"
    assert sizes() == {"a.png": (8, 6)}


def test_two_existing_paths_are_two_inputs(up):
    picture("a.png"), picture("b.png")
    assert up("a.png", "b.png", "--scale", "2")[0] == 0
    assert {"a-x2.png", "b-x2.png"} <= sizes().keys()


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
    assert status == 0 and "out/a.png: 16×12 px" in err
    assert "3 of 4 exist already and were skipped" in err
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
        (["in", "--output", "{stm}.png"], "{stm} is unknown; use {stem} {suffix}"),
        (["in", "--output", "{stem:.3}.png"], "{stem} is unknown"),
        (["in", "--output", "{stem.__class__}.png"], "{stem.__class__} is unknown"),
        (["in", "--output", "{stem.png"], "expected '}' before end of string"),
        (["in", "--output", "o{scale}.png"], "all outputs would have the same name"),
        (["in", "--output", "in"], "in/a.png: is an input"),
        (["in/a.png", "--output", "in/b.png"], "in/b.png: exists already"),
        (["in", "--output", "{stem}.png"], "would both be written to a.png"),
        (["in/a.png", "--output", "in/a.png", "--overwrite"], "in/a.png: is an input"),
        (["in/a.png", "--output", "link.png", "--overwrite"], "link.png: is an input"),
        (["empty"], "empty: no pictures here; looked for .png"),
        (["in/a.png", "--output", "x.jpg", "--bits", "16"], "JPEG holds 8 bits; use .png or .tif"),
        (["in/a.png", "--output", "in/a.png/x.png"], "in/a.png/x.png: cannot be written"),
        (["in/a.png", "--crop", "1,1,8,2"], "a.png: has 8×6 px; --crop reaches beyond"),
        (["in/a.png", "--crop", "1,1,0,2"], "1,1,0,2: must be X,Y,W,H"),
        (["in/a.png", "--crop", "nan,1,1,2"], "nan,1,1,2: must be X,Y,W,H"),
        (["in/a.png", "--width", "0"], "must be a whole number of pixels"),
        (["in/a.png", "--box", "1,1,2,2"], "--box is an option of its own command: liif compare"),
        (["in/a.png", "--compare", "in/a.png"], "--compare is an option of its own command"),
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
    assert status == (2 if "\nsee liif" in err else 1) and out == "" and said in err
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
            status, _, err = up("a.png", "-o", name, "--scale", "2")
        assert status == 1 and f"{name}: cannot write the image: [Errno 28]" in err
    assert os.listdir() == ["a.png"]


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_an_interruption_leaves_nothing(up, monkeypatch, suffix):
    picture("a.png")

    def interrupted(*arguments, enlarged=files.enlarge_photo):
        yield next(enlarged(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "enlarge_photo", interrupted)
    assert up("a.png", "-o", f"out/x.{suffix}", "--scale", "2") == (130, "", "interrupted\n")
    assert os.listdir("out") == []


def test_too_little_memory_is_no_traceback(up_refused, monkeypatch):
    picture("a.png")
    monkeypatch.setattr(SRModel, "encode_frame", lambda model, lr: torch.empty(10**15))
    assert "not enough memory" in up_refused("a.png", "-o", "out.png", "--scale", "2")


def test_images_that_cannot_be_enlarged(up_refused, photos, folder):
    to = ("-o", "out.png", "--scale", "2")
    assert f"{folder / 'no.png'}: cannot read the image" in up_refused("no.png", *to)
    broken("truncated")
    assert "b.png: cannot read the image: " in up_refused(photos / "b.png", *to)


# Sizes and inference options


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--scale", "2"], (80, 120)),
        (["--scale", "3.7"], (148, 222)),
        (["--scale", "2,3.5"], (80, 210)),
        (["--width", "100"], (67, 100)),
        (["--height", "100"], (100, 150)),
        (["--size", "61x41"], (41, 61)),
    ],
)
def test_upscale_to_any_size(up, photos, tiny_checkpoint, options, size):
    status, _, err = up(photos / "a.png", "-o", "x/out.png", *options)
    assert status == 0 and f"x/out.png: {size[1]}×{size[0]} px" in err
    wanted = load_checkpoint(tiny_checkpoint).upscale(to_tensor(texture(40, 60, 0)), size)
    assert np.array_equal(read_image(Path("x/out.png")), to_image(wanted))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fit", "cover"], "--fit requires --size"),
        (["--scale", "2", "--size", "3x4"], "give one of --scale, --size"),
        *((["--scale", s], f"--scale: {s}: must be a number above 0")
          for s in ("abc", "0", "-1", "1,2,3", "nan", "inf", "1e9", "2,", "")),
        *((["--size", s], f"--size: {s}: must be WIDTHxHEIGHT")
          for s in ("3", "0x3", "3x", "+3x4", "²x3", "3x4x5", "9999999x1", "1.5x2")),
    ],
)  # fmt: skip
def test_invalid_sizes(up_refused, options, said):
    picture("a.png")
    assert said in up_refused("a.png", "-o", "out.png", *options)


def test_engines_and_memory_give_the_same_picture(up, photos, up_refused):
    use = (photos / "a.png", "-o", "out.png", "--overwrite", "--scale", "2.5")
    images = []
    for options in ((), ("--engine", "reference"), ("--memory", "1")):
        assert up(*use, *options)[0] == 0
        images.append(read_image(Path("out.png")).astype(int))
        assert np.abs(images[-1] - images[0]).max() <= 1  # a value at the edge of rounding
        assert (images[-1] != images[0]).mean() < 0.01
    Path("out.png").unlink()
    both = ("--engine", "reference", "--precision", "bf16")
    assert "supports neither --precision nor" in up_refused(*use, *both)
    both = ("--self-ensemble", "--rotation-ensemble")
    assert "includes the rotations of --rotation-ensemble; give one" in up_refused(*use, *both)
    for wrong in ("0", "-1", "5X", "lots", "1e3"):
        assert "must be a size such as" in up_refused(*use, f"--memory={wrong}")


# What is in the results


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(texture(1, 1)),
        Image.fromarray(texture(1, 9)),
        Image.fromarray(texture(9, 1)),
        Image.fromarray(texture(6, 7)[..., 0]),
        Image.fromarray(texture(6, 7)[..., 0]).convert("1"),
        Image.fromarray(texture(6, 7)).convert("P"),
        Image.fromarray(texture(6, 7)).convert("RGBA"),
        Image.fromarray(texture(6, 7)[..., 0].astype(np.uint16) * 256),
    ],
    ids=["one pixel", "one row", "one column", "gray", "1 bit", "palette", "alpha", "16 bit"],
)
def test_upscale_takes_every_kind_of_image(up, image):
    image.save("in.png")
    assert up("in.png", "-o", "out.png", "--scale", "3")[0] == 0
    assert read_image(Path("out.png")).shape == (3 * image.height, 3 * image.width, 3)


def test_a_window_of_the_upright_picture(up, tiny_checkpoint):
    image, exif = texture(20, 30), Image.Exif()
    exif[274] = 6
    Image.fromarray(image).save("in.png", exif=exif)
    assert up("in.png", "-o", "out.png", "--crop", "2.5,7,12,10.5", "--scale", "4")[0] == 0
    upright = np.ascontiguousarray(np.rot90(image, -1))
    window = Window(7, 2.5, 10.5, 12)
    wanted = load_checkpoint(tiny_checkpoint).upscale(to_tensor(upright), scale=4.0, window=window)
    assert np.array_equal(read_image(Path("out.png")), to_image(wanted))


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_animations_frame_by_frame(up, suffix, has_alpha):
    if suffix == ".avif" and suffix not in TARGETS:
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
    assert up(f"in{suffix}", "-o", f"out{suffix}", "--scale", "3")[0] == 0
    ours, before = (list(read_photo(Path(f"{name}{suffix}"))) for name in ("out", "in"))
    assert [photo.size for photo in ours] == [(36, 48)] * 3
    assert [photo.duration for photo in ours] == [100, 200, 300]
    assert ours[0].loop == before[0].loop
    for i, photo in enumerate(ours):
        assert (photo.alpha is not None) == has_alpha
        if has_alpha:
            wrong = (photo.alpha >= 128) != (before[i].alpha.repeat(3, 0).repeat(3, 1) >= 128)
            assert not wrong[:, : 12 * i + 9].any() and not wrong[:, 12 * i + 15 :].any()
    assert up(f"in{suffix}", "-o", "still.jpg", "--scale", "3")[0] == 0
    assert (
        "still.jpg: first of 3 frames only"
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
    status, _, err = up(source, "-o", target, "--scale", "2", *options)
    assert status == 0
    assert next(read_photo(Path(target))).bits == int(mode)
    assert ("reduced from 16 to 8 bits" in err) == (target == "x.jpg")


def test_a_very_long_picture(up):
    write_image(Path("long.png"), texture(4, 12000))
    assert up("long.png", "-o", "out.tif", "--scale", "1.5", "--memory", "50M")[0] == 0
    assert tifffile.imread("out.tif").shape == (6, 18000, 3)
    status, _, err = up("long.png", "-o", "out.webp", "--scale", "1.5")
    assert status == 1 and "18000×6 px is more than WEBP can hold" in err
