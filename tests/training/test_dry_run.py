"""`liif train --dry-run`: it checks everything, states what a run costs, and leaves nothing."""

import logging
import os
import re

import pytest
import torch
from helpers.pictures import texture
from helpers.training import config, weights
from PIL import Image

import liif.training.train
from liif.training.step import DivergedError
from liif.training.train import train


def everything(folder):
    """Every file below a folder, with what identifies its content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_nothing_is_left_behind(cli, training, folder):
    before = everything(folder)
    status, out, err = cli("train", "--config", training, "--dry-run", "--set", "steps=500")
    assert status == 0 and everything(folder) == before and not (folder / "runs").exists()
    assert re.search(r"dry run: loss 0\.\d+; \S+ s per step", out + err)
    assert re.search(r"dry run: about \d+:\d\d:\d\d for 500 steps", out + err)
    assert re.search(r"dry run: \d+\.\d+ GiB of memory in this process", out + err)
    assert re.search(r"dry run: up to 2 checkpoints of \S+ MiB each", out + err)


def test_a_run_that_is_there_is_rehearsed_from_its_step(learnable, tmp_path, caplog):
    caplog.set_level("INFO", "liif")
    run = tmp_path / "run"
    assert train(config(learnable, steps=8), run)
    before = everything(tmp_path)
    longer = config(learnable, steps=20, ema=None, keep_every=4, keep=2)
    assert train(longer, run, dry_run=True)
    assert everything(tmp_path) == before
    assert "for 12 steps" in caplog.text and "2 validations of" in caplog.text
    assert "up to 5 checkpoints" in caplog.text
    assert train(longer, run)  # and it is as if nothing had happened
    assert train(config(learnable, steps=20, keep_every=4, keep=2), tmp_path / "other")
    for key, value in weights(run).items():
        assert torch.equal(value, weights(tmp_path / "other")[key])
    caplog.clear()
    assert train(longer, run, dry_run=True)
    assert "nothing is left to train" in caplog.text


def test_the_size_of_a_checkpoint_is_about_right(learnable, tmp_path, caplog):
    caplog.set_level("INFO", "liif")
    big = {
        "encoder": {"name": "edsr-baseline", "blocks": 2, "width": 64},
        "decoder": {"name": "liif", "hidden": [64]},
    }
    chosen = config(learnable, steps=1, valid=None, model=big, ema=0.9)
    assert train(chosen, tmp_path / "a", dry_run=True)
    said = float(re.search(r"checkpoints of (\S+) MiB", caplog.text)[1]) * 2**20
    assert train(chosen, tmp_path / "a")
    assert said == pytest.approx((tmp_path / "a" / "last.pt").stat().st_size, rel=0.1)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train_data.images=nowhere", "nowhere"),
        ("train_data.patch=500", "smaller than the crop"),
        ("valid={images: photos, scales: [200]}", "valid.images: "),
        ("groups=[{match: zzz}]", "groups.0.match"),
        ("init=nowhere.pt", "nowhere.pt"),
    ],
)
def test_what_a_run_refuses_is_refused(refused, training, folder, override, said):
    assert said in refused("train", "--config", training, "--dry-run", "--set", override)
    assert not (folder / "runs").exists()


def test_a_broken_image_is_found_by_the_step(refused, training, folder):
    for name in ("a", "b", "c"):
        file = folder / "photos" / f"{name}.png"
        Image.fromarray(texture(200, 200, 0)).save(file)
        file.write_bytes(file.read_bytes()[:2000])
    assert "dry run: step 1: " in refused("train", "--config", training, "--dry-run")
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "dry run: step 1: out of GPU memory"),
        (DivergedError("loss nan, gradient norm 1"), "dry run: loss nan"),
    ],
)
def test_a_step_that_fails(refused, training, folder, monkeypatch, error, said):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(liif.training.train, "train_step", fail)
    message = refused("train", "--config", training, "--dry-run")
    assert said in message and "saved" not in message and not (folder / "runs").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(refused, training, folder):
    (folder / "runs").mkdir()
    (folder / "runs").chmod(0o500)
    assert "cannot be written" in refused("train", "--config", training, "--dry-run")


def test_a_file_in_the_place_of_the_run(refused, training, folder):
    (folder / "runs").write_text("")
    assert "cannot be written" in refused("train", "--config", training, "--dry-run")


def test_loggers_are_as_before(cli, training):
    handlers = list(logging.getLogger("liif").handlers)
    cli("train", "--config", training, "--dry-run")
    assert len(logging.getLogger("liif").handlers) == max(1, len(handlers))
