"""Damaged or missing data and checkpoints, outputs that cannot be written: one line each."""

import os
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from helpers.pictures import broken, texture

from liif.images.rgb8 import write_image

pytestmark = pytest.mark.usefixtures("folder")


# Data


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


def test_lr_and_hr_images_that_do_not_match(refused, scoring):
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


# Checkpoints


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
        ("upscale", "photos/a.png", "-o", "out.png", "--scale", "2", "--checkpoint", bomb),
        ("convert", "--checkpoint", bomb, "-o", "out.pt"),
    ):
        assert "bomb" in refused(*command)
        assert not Path("exploded").exists()
    pickle.loads(pickle.dumps(Bomb()))
    assert Path("exploded").exists()  # it would have


def test_invalid_checkpoints(refused, scoring, tiny_checkpoint):
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
    assert "unknown.pt: describes no model of this package" in message


def test_a_missing_checkpoint_says_what_trains_it(refused, scoring, training):
    missing = ("test", "--config", scoring, "--set", "checkpoint=runs/r/last.pt")
    message = refused(*missing)
    assert "no checkpoint at runs/r/last.pt" in message
    assert "liif train --config r.yaml" in message and "--checkpoint" in message
    training.unlink()
    message = refused(*missing)
    assert "no checkpoint at runs/r/last.pt" in message and "liif train" not in message
    message = refused("test", "--config", scoring, "--set", "checkpoint=null")
    assert "t.yaml: checkpoint: not set; use --checkpoint FILE" in message


# Results that cannot be written


def test_results_that_cannot_be_written_are_found_before_the_work(refused, scoring, capsys):
    Path("file").write_text("mine")
    use = ("--checkpoint", yaml.safe_load(scoring.read_text())["checkpoint"], "-o")
    for command in (
        ("test", "--config", scoring, "-o", "file/result.json"),
        ("test", "--config", scoring, "-o", "photos"),
        ("test", "--config", scoring, "--save-images", "file"),
        ("upscale", "photos/a.png", "--scale", "2", *use, "file/out.png"),
        ("convert", *use, "file/out.pt"),
        ("export", *use, "file"),
    ):
        message = refused(*command)
        assert "cannot be written" in message or "is a folder" in message
        assert capsys.readouterr().out == ""
    assert Path("file").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_folder_without_write_permission(refused, scoring):
    message = refused("test", "--config", scoring, "-o", "/proc/liif/result.json")
    assert "/proc/liif/result.json: cannot be written" in message
