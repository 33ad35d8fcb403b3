"""The command line as people use and misuse it: exit status, messages, files; never a traceback."""

import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import TINY, texture
from PIL import Image

from liif.checkpoint import load
from liif.cli import main
from liif.data.images import read_image, write_image
from liif.data.resize import matlab_bicubic
from liif.errors import UserError
from liif.evaluate import read_ahead, to_image, to_tensor
from liif.metrics import protocol, psnr
from liif.models.sr import SRModel

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Everything happens in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIIF_DATA", raising=False)
    return tmp_path


@pytest.fixture
def scoring(photos, tiny_checkpoint, folder):
    return config_file(
        "t.yaml",
        data_root=str(folder), set="mine", hr="photos", scale=2, protocol="benchmark",
        checkpoint=str(tiny_checkpoint),
    )  # fmt: skip


@pytest.fixture
def training(photos, folder):
    data = {"sampling": "random-scale", "images": "photos", "cache": "none", "patch": 8}
    return config_file(
        "r.yaml",
        data_root=str(folder), model=TINY, train_data={**data, "queries": 16},
        steps=2, batch_size=2, workers=0,
    )  # fmt: skip


def config_file(name, **values):
    Path(name).write_text(yaml.safe_dump(values))
    return Path(name)


def run_script(name, *arguments, **environment):
    """A script in a process of its own, from the project's folder."""
    done = subprocess.run(
        [sys.executable, f"scripts/{name}.py", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, env={**os.environ, **environment},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


# What is typed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["tset"], "invalid choice: 'tset'"),
        (["test"], "the following arguments are required: --config"),
        (["train"], "the following arguments are required: --config"),
        (["test", "--config"], "--config: expected one argument"),
        (["test", "--config", "x.yaml", "--bogus"], "unrecognized arguments: --bogus"),
        (["test", "--config", "x.yaml"], "x.yaml: no such configuration file"),
        (["test", "--config", "."], ".: cannot be read"),
        (["upscale"], "the following arguments are required: input"),
        (["convert", "a.pth"], "the following arguments are required: output"),
    ],
)
def test_command_lines_that_are_none(refused, arguments, said):
    assert said in refused(*arguments)


@pytest.mark.parametrize("command", [[], ["train"], ["test"], ["upscale"], ["convert"]])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: liif") and (not command or f"example: liif {command[0]}" in out)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x", "", "meta", "mps"])
def test_devices_that_are_none(refused, scoring, device):
    assert f"error: --device {device}: " in refused("test", "--config", scoring, "--device", device)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("scale=0", "--set scale: must be from 1 to 1000, not 0"),
        ("scale=-2", "--set scale: must be from 1 to 1000, not -2"),
        ("scale=[2,-1]", "--set scale: scale.1: must be greater than or equal to 1, not -1"),
        ("scale=two", "--set scale: must be a number"),
        ("chekpoint=x", "--set chekpoint: unknown key; did you mean 'checkpoint'?"),
        ("protocol=div2", "--set protocol: must be 'div2k', 'benchmark' or 'none'"),
        ("protocol", "--set protocol: must be KEY=VALUE"),
    ],
)
def test_overrides_that_are_wrong(refused, scoring, override, said):
    assert refused("test", "--config", scoring, "--set", override).startswith(f"error: {said}")


def test_a_configuration_of_the_other_kind(refused, scoring, training):
    assert "t.yaml: model: must be given" in refused("train", "--config", scoring)
    assert "r.yaml: model: unknown key; valid keys are" in refused("test", "--config", training)
    assert not Path("runs").exists()


# Testing


def test_scores_and_the_result_file(cli, scoring, tiny_checkpoint, photos):
    status, out, err = cli("test", "--config", scoring, "--out", "new/result.json")
    assert (status, err) == (0, "")
    result = json.loads(Path("new/result.json").read_text())
    assert set(result) == {
        "set", "scale", "protocol", "psnr", "psnr_rgb", "psnr_y", "ssim", "bicubic", "images", "lr",
        "checkpoint", "seconds", "precision", "options",
    }  # fmt: skip
    assert (result["set"], result["scale"], result["protocol"]) == ("mine", 2, "benchmark")
    assert result["checkpoint"] == str(tiny_checkpoint) and result["lr"] == "pillow-bicubic"
    assert 0 < result["seconds"] < 60
    assert [image["name"] for image in result["images"]] == ["a", "b", "c"]
    for key in ("psnr", "ssim", "bicubic"):
        assert result[key] == pytest.approx(np.mean([image[key] for image in result["images"]]))

    model, hr = load(tiny_checkpoint), read_image(photos / "b.png")
    lr = np.asarray(Image.fromarray(hr).resize((25, 22), Image.Resampling.BICUBIC))
    how = protocol("benchmark", (2, 2))
    ours = psnr(model.upscale(to_tensor(lr), (44, 50)), to_tensor(hr), how)
    bicubic = psnr(to_tensor(matlab_bicubic(lr, (44, 50))), to_tensor(hr), how)
    assert result["images"][1]["psnr"] == pytest.approx(ours, abs=1e-4)
    assert result["images"][1]["bicubic"] == pytest.approx(bicubic, abs=1e-4)

    lines = out.splitlines()
    assert len(lines) == 4 and lines[1].startswith("b ") and f"PSNR {ours:.4f} dB" in lines[1]
    assert lines[3].startswith("mean mine x2") and f"PSNR {result['psnr']:.4f} dB" in lines[3]


@pytest.mark.parametrize(
    ("scale", "written", "sizes"),
    [
        ("2.5", 2.5, [(40, 60), (42, 50), (48, 48)]),
        ("[2, 3.5]", [2, 3.5], [(40, 60), (44, 49), (48, 46)]),
        ("1.1", 1.1, [(40, 59), (44, 50), (47, 47)]),
    ],
)
def test_any_scale_with_images_saved(cli, scoring, scale, written, sizes):
    status, _, _ = cli(
        "test", "--config", scoring, "--set", f"scale={scale}",
        "--out", "result.json", "--save-images", "deep/er",
    )  # fmt: skip
    assert status == 0
    assert json.loads(Path("result.json").read_text())["scale"] == written
    saved = sorted(Path("deep/er").iterdir())
    assert [path.name for path in saved] == ["a.png", "b.png", "c.png"]
    assert [read_image(path).shape[:2] for path in saved] == sizes


def test_saved_images_are_the_models(cli, scoring, tiny_checkpoint):
    cli("test", "--config", scoring, "--save-images", "sr")
    lr = Image.fromarray(texture(40, 60, 0)).resize((30, 20), Image.Resampling.BICUBIC)
    wanted = to_image(load(tiny_checkpoint).upscale(to_tensor(np.asarray(lr)), (40, 60)))
    assert np.array_equal(read_image(Path("sr/a.png")), wanted)


def test_published_low_resolution_images(cli, scoring, photos):
    for name, (height, width) in {"a": (20, 30), "b": (22, 25), "c": (24, 24)}.items():
        write_image(Path(f"lr/X2/{name}x2.png"), texture(height, width, 5))
    published = ("--set", "lr=lr/X{scale}", "--out", "result.json")
    assert cli("test", "--config", scoring, *published)[0] == 0
    result = json.loads(Path("result.json").read_text())
    assert result["lr"] == "lr/X2"
    assert cli("test", "--config", scoring, *published, "--set", "scale=8")[0] == 0
    assert json.loads(Path("result.json").read_text())["lr"] == "pillow-bicubic"


def test_scores_that_are_no_numbers_are_null_in_json(cli, scoring):
    write_image(Path("photos/one.png"), np.full((3, 3, 3), 9, np.uint8))
    status, out, _ = cli(
        "test", "--config", scoring, "--out", "result.json",
        "--set", "hr=photos/one.png", "--set", "scale=1", "--set", "protocol=none",
    )  # fmt: skip
    assert status == 0 and "SSIM nan  bicubic inf dB" in out
    text = Path("result.json").read_text()
    result = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert result["ssim"] is None and result["bicubic"] is None and result["psnr"] > 0


def test_a_border_larger_than_the_image(refused, scoring):
    said = refused("test", "--config", scoring, "--set", "scale=20", "--set", "protocol=div2k")
    assert "a: nothing is left of 40×60 px" in said and "protocol: none" in said


def test_a_scale_larger_than_the_image(refused, scoring):
    said = refused("test", "--config", scoring, "--set", "scale=50")
    assert "photos/a.png: 60×40 px cannot be reduced by 50, 50" in said


# Data that is not as it should be


@pytest.mark.parametrize("command", ["test", "train"])
def test_missing_and_empty_data(refused, command, scoring, training, folder):
    key, file = ("hr", scoring) if command == "test" else ("train_data.images", training)
    Path("empty").mkdir()
    Path("notes").mkdir()
    Path("notes/readme.txt").write_text("no image")
    for name, said in [
        ("no/where", "no such file"),
        ("empty", "no images"),
        ("notes", "no images"),
    ]:
        message = refused(command, "--config", file, "--set", f"{key}={name}")
        assert f"{folder / name}: {said}" in message
        for help_text in ("data_root", "LIIF_DATA", "datasets/README.md"):
            assert help_text in message


def test_the_data_root(cli, refused, scoring, photos, folder, monkeypatch):
    without = ("test", "--config", scoring, "--set", "data_root=null")
    assert cli(*without, "--set", f"hr={photos}")[0] == 0
    Path("datasets").mkdir()
    assert str(folder / "datasets" / "photos") in refused(*without)
    monkeypatch.setenv("LIIF_DATA", str(photos.parent))
    assert cli(*without)[0] == 0


def broken(kind):
    content = Path("photos/b.png").read_bytes()
    contents = {"truncated": content[: len(content) // 2], "empty": b"", "text": b"no image"}
    Path("photos/b.png").write_bytes(contents[kind])
    return {"truncated": "truncated", "empty": "the file is empty", "text": "not an image"}[kind]


@pytest.mark.parametrize("kind", ["truncated", "empty", "text"])
def test_broken_files_are_named(refused, cli, scoring, training, kind):
    said = broken(kind)
    for command in (
        ("test", "--config", scoring),
        ("train", "--config", training),
        ("train", "--config", training, "--set", "workers=1", "--name", "workers"),
    ):
        message = refused(*command)
        assert "photos/b.png: cannot read the image: " in message and said in message
    assert "skip_broken: true" in message
    skip = ("--set", "train_data.skip_broken=true", "--name", "skips")
    status, _, err = cli("train", "--config", training, *skip)
    assert status == 0 and "1 of 3 images are broken and left out: b.png" in err


def test_images_smaller_than_the_crop(refused, training):
    message = refused("train", "--config", training, "--set", "train_data.patch=11")
    assert "a.png (60×40 px)" in message and "crop of 44×44 px" in message


def test_lr_and_hr_that_do_not_match(refused, scoring):
    lr = ("test", "--config", scoring, "--set", "lr=lr")
    write_image(Path("lr/ax2.png"), texture(20, 30))
    write_image(Path("lr/bx2.png"), texture(22, 25))
    write_image(Path("lr/dx2.png"), texture(24, 24))
    message = refused(*lr)
    assert "photos/c.png" in message and "lr/dx2.png" in message
    Path("lr/dx2.png").rename("lr/cx2.png")
    write_image(Path("lr/bx2.png"), texture(22, 24))
    message = refused(*lr)
    assert "lr/bx2.png is 24×22 px" in message and "photos/b.png (50×44 px)" in message


# Checkpoints that are not as they should be


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("name", ["bomb.pth", "bomb.pt"])
@pytest.mark.parametrize(
    "save", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))]
)
def test_a_checkpoint_cannot_run_code(refused, scoring, name, save):
    bomb = Path(name)
    save({"model": {"name": "liif", "args": {}, "sd": Bomb()}}, bomb)
    for command in (
        ("test", "--config", scoring, "--checkpoint", bomb),
        ("upscale", "photos/a.png", "out.png", "--scale", "2", "--checkpoint", bomb),
        ("convert", bomb, "out.pt"),
    ):
        assert "bomb" in refused(*command)
        assert not Path("exploded").exists()
    pickle.loads(pickle.dumps(Bomb()))
    assert Path("exploded").exists()  # it would have


def test_checkpoints_that_are_none(refused, scoring, tiny_checkpoint):
    content = tiny_checkpoint.read_bytes()
    Path("truncated.pt").write_bytes(content[: len(content) // 2])
    Path("empty.pt").write_bytes(b"")
    Path("text.safetensors").write_text("hello")
    torch.save([1, 2], "list.pt")
    torch.save({"a": torch.zeros(2)}, "tensors.pth")
    for name in ("truncated.pt", "empty.pt", "text.safetensors", "list.pt", "tensors.pth", "no.pt"):
        message = refused("test", "--config", scoring, "--checkpoint", name)
        assert f"error: {name}: " in message and len(message) < 300


def test_a_checkpoint_of_another_model(refused, scoring, tiny_checkpoint):
    content = torch.load(tiny_checkpoint, weights_only=True)
    content["model"]["encoder"]["width"] = 9
    torch.save(content, "wider.pt")
    message = refused("test", "--config", scoring, "--checkpoint", "wider.pt")
    assert "wider.pt: its weights do not fit the model" in message
    assert "decoder.mlp.layers.0.weight (16, 76) for (16, 85)" in message
    content["model"]["encoder"]["name"] = "vit"
    torch.save(content, "unknown.pt")
    message = refused("test", "--config", scoring, "--checkpoint", "unknown.pt")
    assert "unknown.pt: describes no model of ours" in message


def test_a_missing_checkpoint_says_what_trains_it(refused, scoring, training):
    missing = ("test", "--config", scoring, "--set", "checkpoint=runs/r/last.pt")
    message = refused(*missing)
    assert "no checkpoint at runs/r/last.pt" in message
    assert "python scripts/train.py --config r.yaml" in message and "--checkpoint" in message
    training.unlink()
    message = refused(*missing)
    assert "no checkpoint at runs/r/last.pt" in message and "scripts/train.py" not in message
    message = refused("test", "--config", scoring, "--set", "checkpoint=null")
    assert "t.yaml: names no checkpoint; give one with --checkpoint" in message


# Results that cannot be written


def test_results_that_cannot_be_written_are_found_before_the_work(refused, scoring, capsys):
    Path("file").write_text("mine")
    upscale = ("upscale", "photos/a.png")
    use = ("--scale", "2", "--checkpoint", yaml.safe_load(scoring.read_text())["checkpoint"])
    for command in (
        ("test", "--config", scoring, "--out", "file/result.json"),
        ("test", "--config", scoring, "--out", "photos"),
        ("test", "--config", scoring, "--save-images", "file"),
        (*upscale, "file/out.png", *use),
        (*upscale, "photos", *use),
        ("convert", use[-1], "file/out.pt"),
    ):
        message = refused(*command)
        assert "cannot be written" in message or "is a folder" in message
        assert capsys.readouterr().out == ""
    assert Path("file").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write to")
def test_a_folder_that_nobody_can_write_to(refused, scoring):
    message = refused("test", "--config", scoring, "--out", "/proc/liif/result.json")
    assert "/proc/liif/result.json: cannot be written" in message


# Enlarging


def test_reading_ahead_keeps_the_order_and_the_errors():
    made = []

    def source():
        for i in range(3):
            made.append(i)
            yield i
        raise UserError("the fourth")

    ahead = read_ahead(source())
    assert next(ahead) == 0
    assert [next(ahead), next(ahead)] == [1, 2] and made == [0, 1, 2]
    with pytest.raises(UserError, match="the fourth"):
        next(ahead)
    assert list(read_ahead([])) == [] and list(read_ahead("ab")) == ["a", "b"]


def test_engines_and_precisions(cli, scoring, photos, tiny_checkpoint, refused):
    psnrs = {}
    for how in ((), ("--engine", "reference"), ("--memory", "0.5m"), ("--precision", "bf16")):
        assert cli("test", "--config", scoring, "--out", "r.json", *how)[0] == 0
        result = json.loads(Path("r.json").read_text())
        psnrs[how] = result["psnr"]
        assert result["precision"] == ("bf16" if "bf16" in how else "float32")
    fast, plain, tiled, rough = psnrs.values()
    assert fast == pytest.approx(plain, abs=1e-4) and fast == pytest.approx(tiled, abs=1e-4)
    assert 1e-6 < abs(fast - rough) < 0.05
    use = ("upscale", photos / "a.png", "--output", "out.png", "--overwrite", "--scale", "2.5")
    use = (*use, "--checkpoint")
    images = []
    for how in ((), ("--engine", "reference"), ("--memory", "1")):
        assert cli(*use, tiny_checkpoint, *how)[0] == 0
        images.append(read_image(Path("out.png")).astype(int))
        assert np.abs(images[-1] - images[0]).max() <= 1  # a value at the edge of rounding
        assert (images[-1] != images[0]).mean() < 0.01
    both = ("--engine", "reference", "--precision", "bf16")
    assert "knows neither --precision nor" in refused(*use, tiny_checkpoint, *both)
    for wrong in ("0", "-1", "5X", "lots", "1e3"):
        assert "must be a size such as" in refused(*use, tiny_checkpoint, f"--memory={wrong}")


@pytest.mark.parametrize(
    ("how", "size"),
    [
        (["--scale", "2"], (80, 120)),
        (["--scale", "3.7"], (148, 222)),
        (["--scale", "2,3.5"], (80, 210)),
        (["--width", "100"], (67, 100)),
        (["--height", "100"], (100, 150)),
        (["--size", "61x41"], (41, 61)),
    ],
)
def test_upscale_to_any_size(cli, photos, tiny_checkpoint, how, size):
    status, _, err = cli(
        "upscale", photos / "a.png", "x/out.png", "--checkpoint", tiny_checkpoint, *how
    )
    assert status == 0 and f"x/out.png: {size[1]}×{size[0]} px" in err
    wanted = load(tiny_checkpoint).upscale(to_tensor(texture(40, 60, 0)), size)
    assert np.array_equal(read_image(Path("x/out.png")), to_image(wanted))


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
def test_upscale_takes_every_kind_of_image(cli, tiny_checkpoint, image):
    image.save("in.png")
    use = ("--checkpoint", tiny_checkpoint, "--scale", "3")
    assert cli("upscale", "in.png", "out.png", *use)[0] == 0
    assert read_image(Path("out.png")).shape == (3 * image.height, 3 * image.width, 3)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ([], "give one of --scale, --size, --width and --height"),
        (["--scale", "2", "--size", "3x4"], "give one of --scale, --size"),
        *((["--scale", s], f"--scale: {s}: must be a number above 0")
          for s in ("abc", "0", "-1", "1,2,3", "nan", "inf", "1e9", "2,", "")),
        *((["--size", s], f"--size: {s}: must be WIDTHxHEIGHT")
          for s in ("3", "0x3", "3x", "+3x4", "²x3", "3x4x5", "9999999x1", "1.5x2")),
    ],
)  # fmt: skip
def test_sizes_that_are_none(refused, photos, tiny_checkpoint, how, said):
    use = [photos / "a.png", "out.png", "--checkpoint", tiny_checkpoint]
    assert said in refused("upscale", *use, *how)
    assert not Path("out.png").exists()


def test_too_little_memory_is_no_traceback(refused, photos, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(SRModel, "encode", lambda model, lr: torch.empty(10**15))
    use = [photos / "a.png", "out.png", "--checkpoint", tiny_checkpoint]
    assert "not enough memory" in refused("upscale", *use, "--scale", "2")
    assert not Path("out.png").exists()


def test_images_that_cannot_be_enlarged(refused, photos, tiny_checkpoint, folder):
    xcf = [photos / "a.png", "out.xcf", "--scale", "2", "--checkpoint", tiny_checkpoint]
    assert "out.xcf: cannot write this format; use one of .png" in refused("upscale", *xcf)
    use = ["out.png", "--scale", "2", "--checkpoint", tiny_checkpoint]
    assert f"{folder / 'no.png'}: cannot read the image" in refused("upscale", "no.png", *use)
    assert "out.png: one file for several pictures" in refused("upscale", photos, *use)
    broken("truncated")
    assert "b.png: cannot read the image: " in refused("upscale", photos / "b.png", *use)


# Converting


def test_convert_round_trip_gives_identical_outputs(cli, refused, tiny_checkpoint):
    content = torch.load(tiny_checkpoint, weights_only=True)
    official = {
        "name": "liif",
        "args": {
            "encoder_spec": {"name": "edsr-baseline",
                             "args": {"no_upsampling": True, "n_resblocks": 1, "n_feats": 8}},
            "imnet_spec": {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [16]}},
            "local_ensemble": True, "feat_unfold": True, "cell_decode": True,
        },
        "sd": {k.replace("decoder.mlp.", "imnet."): v for k, v in content["weights"].items()},
    }  # fmt: skip
    torch.save({"model": official, "optimizer": {}, "epoch": 3}, "a.pth")
    assert cli("convert", "a.pth", "a.safetensors")[0] == 0
    assert cli("convert", "a.safetensors", "b.pt")[0] == 0
    lr = to_tensor(texture(9, 11))
    wanted = load(tiny_checkpoint).upscale(lr, scale=2.7)
    for name in ("a.pth", "a.safetensors", "b.pt"):
        assert torch.equal(load(name).upscale(lr, scale=2.7), wanted)
    before = Path("b.pt").read_bytes()
    assert "b.pt: exists already" in refused("convert", "a.pth", "b.pt")
    assert Path("b.pt").read_bytes() == before
    assert "c.onnx: must end in .safetensors or .pt" in refused("convert", "a.pth", "c.onnx")
    assert "no.pth: no such checkpoint file" in refused("convert", "no.pth", "c.pt")


# Training


def test_train_then_test(cli, refused, training, scoring):
    status, _, err = cli("train", "--config", training)
    assert status == 0 and "done: runs/r/last.pt" in err and "step 2/2: loss " in err
    status, out, _ = cli("test", "--config", scoring, "--set", "checkpoint=runs/r/last.pt")
    assert status == 0 and "mean mine x2" in out
    never = refused("train", "--config", training, "--resume", "never")
    assert "runs/r: holds a run already" in never
    assert "steps: 2" in Path("runs/r/config.yaml").read_text()


@pytest.mark.parametrize("name", ["a/b", "..", ".", "/abs", "x" * 300])
def test_names_of_runs_that_are_none(refused, training, name):
    assert name in refused("train", "--config", training, "--name", name)


def test_starting_points_that_are_none(refused, training, tiny_checkpoint):
    train = ("train", "--config", training)
    assert "no.pt: no such checkpoint file" in refused(*train, "--resume", "no.pt")
    assert "no.pt: no such checkpoint file" in refused(*train, "--set", "init=no.pt")
    assert "holds weights only" in refused(*train, "--resume", tiny_checkpoint)
    wider = refused(*train, "--set", f"init={tiny_checkpoint}", "--set", "model.encoder.width=9")
    assert "does not fit the model" in wider


# Processes of their own


def test_the_script_without_data(folder):
    done = run_script(
        "test", "--config", "configs/test-set5-x4.yaml", "--checkpoint", folder / "no.pt"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {folder / 'no.pt'}: no such checkpoint file\n"


def test_the_script_with_names_that_a_terminal_cannot_show(scoring, folder):
    os.rename("photos/a.png", os.fsencode("photos/caf") + b"\xe9.png")
    done = run_script("test", "--config", folder / scoring, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 4


def test_published_scores(shared, cli, monkeypatch):
    reference = json.loads((shared / "reference" / "psnr.json").read_text())["set5"]["8"]
    monkeypatch.setenv("LIIF_DATA", str(shared / "data"))
    status, _, _ = cli(
        "test", "--config", ROOT / "configs" / "test-set5-x8.yaml", "--out", "result.json",
        "--checkpoint", shared / "weights" / "edsr-baseline-liif.pth",
    )  # fmt: skip
    assert status == 0
    result = json.loads(Path("result.json").read_text())
    assert result["psnr"] == pytest.approx(reference, abs=0.005)
    assert [image["name"] for image in result["images"]] == [
        "baby", "bird", "butterfly", "head", "woman",
    ]  # fmt: skip
    assert all(math.isfinite(image["psnr"]) for image in result["images"])


def test_one_image_of_a_published_set(shared, cli):
    """Measured where the whole set gave the published 32.24 dB."""
    data, weights = shared / "data", shared / "weights" / "edsr-baseline-liif.pth"
    status, out, _ = cli(
        "test", "--config", ROOT / "configs" / "test-set5-x4.yaml", "--checkpoint", weights,
        "--set", "hr=benchmark/Set5/HR/butterfly.png", "--set", f"data_root={data}",
        "--out", "o.json",
    )  # fmt: skip
    assert status == 0 and out.startswith("butterfly ")
    result = json.loads(Path("o.json").read_text())
    assert result["psnr"] == pytest.approx(28.6892, abs=0.002)
    assert result["lr"] == "benchmark/Set5/LR_bicubic/X4" and len(result["images"]) == 1
