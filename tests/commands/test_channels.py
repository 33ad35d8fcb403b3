"""Training, testing and enlarging images of 1, 4 and 8 channels, of 8 and 16 bits and floats."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers.models import TINY
from PIL import Image

import liif
from liif.images.channels import PixelFormat, read_pixels, suffix_for, write_pixels
from liif.images.resize import pillow_bicubic

CASES = {
    "gray": (PixelFormat(1), {}),
    "RGB 16": (PixelFormat(3, 16), {"bits": 16}),
    "RGB+NIR 16": (PixelFormat(4, 16), {"bits": 16}),
    "8 floats": (PixelFormat(8, 32, (-2.0, 6.0)), {"bits": 32, "range": [-2, 6]}),
}


def waves(height, width, channels, seed=0):
    """Something to learn, float (H, W, C) in [0, 1]."""
    y, x = np.mgrid[:height, :width]
    phases = [np.sin(x / (2 + c) + seed) * np.cos(y / (3 + c)) for c in range(channels)]
    return (np.stack(phases, axis=-1) + 1) / 2


def make_folder(path, form, count=3):
    for i in range(count):
        write_pixels(path / f"{i}{suffix_for(form)}", waves(40, 44, form.channels, i), form)


def model_of(channels):
    return {**TINY, "channels": {"in": channels, "out": channels}}


@pytest.fixture(params=CASES, ids=CASES)
def case(request, folder, monkeypatch):
    monkeypatch.setenv("LIIF_CACHE", str(folder / "cache"))
    form, keys = CASES[request.param]
    make_folder(folder / "images", form)
    config = {
        "data_root": str(folder), "model": model_of(form.channels), "steps": 15,
        "train_data": {"sampling": "random-scale", "images": "images", "patch": 8, "scale": [1, 3],
                       "queries": 64, **keys},
        "valid": {"images": "images", "scales": [2, 2.5], "crop": 24, "protocol": "none"},
        "test": {"images": "images", "scales": [2], "protocol": "none"},
        "batch_size": 4, "workers": 0, "learning_rate": 0.003,
    }  # fmt: skip
    Path("t.yaml").write_text(json.dumps(config))
    return form, keys


def test_trained_tested_and_enlarged(case, cli):
    form, keys = case
    status, _, err = cli("train", "--config", "t.yaml", "--name", "a", "--device", "cpu")
    assert status == 0, err
    test = {"set": "mine", "hr": "images", "scale": 2, "protocol": "benchmark", **keys}
    Path("s.yaml").write_text(json.dumps({**test, "data_root": "."}))
    status, _, err = cli(
        *("test", "--config", "s.yaml", "--checkpoint", "runs/a/last.pt", "--device", "cpu"),
        *("-o", "r.json", "--save-images", "saved"),
    )
    assert status == 0, err
    result = json.loads(Path("r.json").read_text())
    assert result["psnr"] > 12
    model = liif.load("runs/a/last.pt")
    hr = read_pixels(Path("images") / f"0{suffix_for(form)}", form)
    lr = pillow_bicubic(hr, (20, 22))
    ours = model.upscale(lr, (40, 44))
    assert ours.dtype == lr.dtype and ours.shape == hr.shape
    saved = read_pixels(Path("saved") / f"0{suffix_for(form)}", form)
    unit = np.iinfo(hr.dtype).max if form.range is None else 1.0
    assert np.abs(saved / unit - ours / unit).max() < (1e-3 if form.bits == 8 else 1e-4)
    # PSNR of all channels, but of luma where the image is RGB: from the saved images.
    border = slice(2, -2)
    error = ((saved / unit - hr / unit)[border, border] ** 2).mean()
    found = result["images"][0]["psnr_rgb" if form.channels == 3 else "psnr"]
    assert abs(-10 * np.log10(error) - found) < 0.05
    if form.range is None:
        target = "large.tif" if form.channels > 3 else "large.png"
        source = Path("images") / f"0{suffix_for(form)}"
        status, _, err = cli(
            *("upscale", source, "-o", target, "--scale", "1.5", "--precision", "float32"),
            *("--checkpoint", "runs/a/last.pt"),
        )
        assert status == 0, err
        large = read_pixels(Path(target), form)
        expected = model.upscale(hr, (60, 66))
        assert large.shape == expected.shape and large.dtype == hr.dtype
        assert np.abs(large / unit - expected / unit).max() < 0.005


def test_samples_of_16_bits_keep_them(folder):
    """A batch has more than 256 levels, which are those of the files."""
    import torch

    from liif.data.loader import batches
    from liif.data.random_scale import RandomScale

    form = PixelFormat(2, 16)
    make_folder(folder / "images", form, count=1)
    config = RandomScale(images="images", patch=8, scale=(1, 1), queries=64, bits=16, cache="none")
    source = config.open_source(str(folder), (2, 2))
    (batch,) = batches(source, seed=0, batch_size=2, start=0, stop=1)
    assert batch.lr.dtype == batch.target.dtype == torch.uint16
    assert batch.lr.shape == (2, 2, 8, 8) and batch.target.shape == (2, 64, 2)
    stored = set((read_pixels(folder / "images" / "0.tif", form) / 65535).ravel().tolist())
    moved = batch.to(torch.device("cpu"))
    assert moved.lr.dtype == torch.float32
    levels = {round(v * 65535) for v in moved.target.ravel().tolist()}
    assert levels <= {round(v * 65535) for v in stored} and any(v % 257 for v in levels)


def test_data_of_four_channels_are_checked_and_previewed(folder, cli, monkeypatch):
    monkeypatch.setenv("LIIF_CACHE", str(folder / "cache"))
    make_folder(folder / "images", PixelFormat(4, 16), 1)
    data = {"sampling": "random-scale", "images": "images", "patch": 8, "queries": 64, "bits": 16}
    data |= {"scale": [1, 2], "degrade": {"name": "real-esrgan"}}
    config = {"data_root": ".", "model": model_of(4), "train_data": data, "steps": 1}
    Path("t.yaml").write_text(json.dumps(config))
    status, out, _ = cli("data", "check", "t.yaml", "--deep")
    assert status == 0 and "present (1 image)" in out
    status, _, err = cli("data", "preview", "t.yaml", "--samples", "2", "-o", "sheet.png")
    assert status == 0, err
    assert Image.open("sheet.png").mode == "RGB"


REFUSED = [
    ("train_data.bits=16", "0.png: cannot read the image: 8 bits per channel, but bits: 16 asks"),
    ("valid.bits=16", "valid.images: "),
    ("train_data.bits=32", "range: must be given for bits: 32: the values that stand for 0 and 1"),
    ("train_data.range=[3,3]", "range: must be [low, high] with low < high"),
    (
        "train_data.range=[0,4095]",
        "range: must be within the values of bits: 8, 0 to 255, not [0.0",
    ),
    ("valid={images: images, bits: 16, range: [-1, 9]}", "the values of bits: 16, 0 to 65535, not"),
    ("valid.lr=nowhere/{scale}", "nowhere/2: no such file or folder"),
    ("valid.lr={2: images}", "images/0.png is "),
    ("model.channels.in=4", "random-scale makes both images from one file, so model.channels must"),
    ("valid.range=[0,1]", "range: needs bits: 8, 16 or 32 beside it"),
]


@pytest.mark.parametrize(("override", "said"), REFUSED)
def test_refusals_in_training(folder, refused, override, said, monkeypatch):
    monkeypatch.setenv("LIIF_CACHE", str(folder / "cache"))
    make_folder(folder / "images", PixelFormat(3))
    data = {"sampling": "random-scale", "images": "images", "patch": 8, "queries": 16}
    valid = {"images": "images", "scales": [2], "crop": 24, "protocol": "none"}
    Path("t.yaml").write_text(
        json.dumps(
            {"data_root": ".", "model": TINY, "train_data": data, "valid": valid, "steps": 1}
        )
    )
    message = refused("train", "--config", "t.yaml", "--name", "a", "--set", override)
    assert said in message and message.count("\n") == 1, message
    if override.startswith("valid.lr"):
        assert message.startswith("error: valid.lr: ")
    assert not Path("runs/a/last.pt").exists()


def test_models_and_images_of_other_channels(folder, refused, cli):
    """Refused before the work, in one line each."""
    from liif.models.build import ModelConfig, build_model
    from liif.models.checkpoint import save_checkpoint

    make_folder(folder / "rgb", PixelFormat(3), 1)
    make_folder(folder / "four", PixelFormat(4, 16), 1)
    for channels in (1, 3, 4):
        config = ModelConfig.model_validate(model_of(channels))
        save_checkpoint(folder / f"{channels}.pt", config, build_model(config).state_dict())
    options = ["--scale", "2", "--device", "cpu", "-o", "x.png", "--checkpoint"]
    cases = [
        ("rgb/0.png", 1, "3 channels, but the model takes 1"),
        ("rgb/0.png", 4, "3 channels, but 4 needed"),
        ("four/0.tif", 3, "4 channels, neither gray nor RGB"),
        ("four/0.tif", 4, "x.png: PNG does not hold 4 channels; use .tif"),
    ]
    for file, channels, said in cases:
        message = refused("upscale", file, *options, f"{channels}.pt")
        assert said in message and message.count("\n") == 1, message
    Path("s.yaml").write_text("{set: s, data_root: ., hr: rgb, scale: 2, protocol: none}")
    message = refused("test", "--config", "s.yaml", "--checkpoint", "4.pt", "--device", "cpu")
    assert "0.png: cannot read the image: 3 channels, but 4 needed (model.channels)" in message
    message = refused("compare", "rgb/0.png", *options[:4], "--checkpoint", "1.pt")
    assert "compare: needs a model of RGB images; this one has 1 channels in and 1 out" in message


def test_dropped_bits_are_told(folder, cli, caplog, monkeypatch):
    monkeypatch.setenv("LIIF_CACHE", str(folder / "cache"))
    make_folder(folder / "images", PixelFormat(3, 16))
    write_pixels(folder / "images" / "8bit.png", waves(40, 44, 3), PixelFormat(3))
    data = {"sampling": "random-scale", "images": "images", "patch": 8, "queries": 16}
    valid = {"images": "images", "scales": [2, 3], "crop": 24, "protocol": "none"}
    Path("t.yaml").write_text(
        json.dumps({"data_root": ".", "model": TINY, "train_data": data, "valid": valid, "steps": 1,
                   "workers": 0, "batch_size": 1})
    )  # fmt: skip
    for _ in range(2):  # the cache is built, then found
        with caplog.at_level(logging.WARNING, "liif"):
            status, *_ = cli("train", "--config", "t.yaml", "--name", "a", "--device", "cpu")
        assert status == 0
        warnings = [r.getMessage() for r in caplog.records if "16 bits" in r.getMessage()]
        assert len(warnings) == 2, warnings  # of training and validation
        assert all("3 of 4 images have 16 bits per channel, of which 8" in w for w in warnings)
        caplog.clear()


def test_upscale_takes_arrays_and_tensors_of_any_channels():
    import torch

    from liif.models.build import ModelConfig, build_model

    model = build_model(ModelConfig.model_validate(model_of(4))).eval()
    array = waves(6, 7, 4).astype(np.float32)
    tensor = model.upscale(torch.from_numpy(array).permute(2, 0, 1), scale=2)
    assert tensor.shape == (4, 12, 14)
    assert np.allclose(model.upscale(array, scale=2, clamp=True), tensor.permute(1, 2, 0))
    for wrong in (array[..., :3], array[..., 0], Image.new("RGB", (4, 4))):
        with pytest.raises(ValueError, match=r"expected an array|the model takes 4"):
            model.upscale(wrong, scale=2)
    gray = build_model(ModelConfig.model_validate(model_of(1))).eval()
    for picture in (Image.new("L", (5, 4), 99), Image.new("LA", (5, 4), (99, 50))):
        assert gray.upscale(picture, scale=2).mode == picture.mode
    assert gray.upscale(array[..., 0], scale=2).shape == (12, 14)
    colour = {**TINY, "channels": {"in": 1, "out": 3}}
    colour = build_model(ModelConfig.model_validate(colour)).eval()
    assert colour.upscale(array[..., 0], scale=2).shape == (12, 14, 3)


def test_pairs_of_other_channels_in_and_out(folder, cli, monkeypatch):
    """Four bands in, three out, from published low-resolution images of two scales."""
    monkeypatch.setenv("LIIF_CACHE", str(folder / "cache"))
    for i in range(3):
        image = waves(36, 48, 4, i)
        write_pixels(Path("hr") / f"{i}.png", image[..., :3], PixelFormat(3))
        for scale in (2, 3):
            small = pillow_bicubic(image.astype(np.float32), (36 // scale, 48 // scale))
            tifffile.imwrite(
                _made(Path(f"lr/X{scale}/{i}x{scale}.tif")), (small * 255).round().astype(np.uint8),
                photometric="minisblack", planarconfig="contig",
            )  # fmt: skip
    lr = {2: "lr/X2", 3: "lr/X3"}
    config = {
        "data_root": ".", "model": {**TINY, "channels": {"in": 4, "out": 3}}, "steps": 4,
        "train_data": {"sampling": "pairs", "lr": lr, "hr": "hr", "patch": 6, "queries": 64},
        "valid": {"images": "hr", "lr": lr, "scales": [2, 3], "crop": 24, "protocol": "none"},
        "test": {"images": "hr", "lr": "lr/X{scale}", "scales": [2, 3], "protocol": "none"},
        "batch_size": 2, "workers": 0,
    }  # fmt: skip
    Path("t.yaml").write_text(json.dumps(config))
    status, _, err = cli("train", "--config", "t.yaml", "--name", "a", "--device", "cpu")
    assert status == 0, err
    (tmp := Path("s.yaml")).write_text(
        "{set: s, data_root: ., hr: hr, lr: {2: lr/X2}, scale: 2, protocol: none}"
    )
    status, _, err = cli("test", "--config", tmp, "--checkpoint", "runs/a/last.pt")
    assert status == 0, err


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
