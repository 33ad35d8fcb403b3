"""`liif test`: scores, result files and saved images; the published scores."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.pictures import texture
from PIL import Image

from liif.commands import test as command
from liif.core.errors import UserError
from liif.core.parallel import read_ahead
from liif.evaluation.metrics import psnr
from liif.evaluation.protocols import get_protocol
from liif.evaluation.results import read_points
from liif.images.convert import to_image, to_tensor
from liif.images.resize import matlab_bicubic
from liif.images.rgb8 import read_image, write_image
from liif.models.checkpoint import load_checkpoint

pytestmark = pytest.mark.usefixtures("folder")


def test_scores_and_the_result_file(cli, scoring, tiny_checkpoint, photos):
    status, out, err = cli("test", "--config", scoring, "-o", "new/result.json")
    assert (status, err) == (0, "")
    result = json.loads(Path("new/result.json").read_text())
    assert set(result) == {
        "set", "scale", "protocol", "psnr", "psnr_rgb", "psnr_y", "ssim", "bicubic", "images", "lr",
        "degrade", "definitions", "checkpoint", "seconds", "precision", "options",
    }  # fmt: skip
    assert (result["set"], result["scale"], result["protocol"]) == ("mine", 2, "benchmark")
    assert result["checkpoint"] == str(tiny_checkpoint) and result["lr"] == "pillow-bicubic"
    assert 0 < result["seconds"] < 60
    assert [image["name"] for image in result["images"]] == ["a", "b", "c"]
    for key in ("psnr", "ssim", "bicubic"):
        assert result[key] == pytest.approx(np.mean([image[key] for image in result["images"]]))

    model, hr = load_checkpoint(tiny_checkpoint), read_image(photos / "b.png")
    lr = np.asarray(Image.fromarray(hr).resize((25, 22), Image.Resampling.BICUBIC))
    how = get_protocol("benchmark", (2, 2))
    ours = psnr(model.upscale(to_tensor(lr), (44, 50)), to_tensor(hr), how)
    bicubic = psnr(to_tensor(matlab_bicubic(lr, (44, 50))), to_tensor(hr), how)
    assert result["images"][1]["psnr"] == pytest.approx(ours, abs=1e-4)
    assert result["images"][1]["bicubic"] == pytest.approx(bicubic, abs=1e-4)

    lines = out.splitlines()
    assert len(lines) == 4 and lines[1].startswith("b ") and f"PSNR {ours:.4f} dB" in lines[1]
    assert lines[3].startswith("mean mine x2") and f"PSNR {result['psnr']:.4f} dB" in lines[3]


def test_degraded_images(cli, scoring, tiny_checkpoint, photos):
    """The same at every test, whatever other images are in the set, and recorded."""
    command = ("test", "--config", scoring, "--set", "degrade=real-esrgan", "-o")
    results = []
    for name in ("one.json", "two.json", "three.json"):
        assert cli(*command, name)[0] == 0
        results.append(json.loads(Path(name).read_text()))
        (photos / "a.png").unlink(missing_ok=True)
    assert results[0]["lr"] == "real-esrgan" and len(results[0]["degrade"]["stages"]) == 3
    assert results[0]["images"][1:] == results[1]["images"] == results[2]["images"]
    assert cli("test", "--config", scoring, "-o", "clean.json")[0] == 0
    clean = json.loads(Path("clean.json").read_text())
    assert clean["degrade"] == {"name": "bicubic", "flavour": "pillow"}
    assert clean["images"][0]["psnr"] != results[1]["images"][0]["psnr"]
    points = read_points([Path("one.json"), Path("clean.json")], "psnr")  # no contradiction
    assert {point.set for point in points} == {"mine", "mine (real-esrgan)"}


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
        "-o", "result.json", "--save-images", "deep/er",
    )  # fmt: skip
    assert status == 0
    assert json.loads(Path("result.json").read_text())["scale"] == written
    saved = sorted(Path("deep/er").iterdir())
    assert [path.name for path in saved] == ["a.png", "b.png", "c.png"]
    assert [read_image(path).shape[:2] for path in saved] == sizes


def test_saved_images_are_the_models(cli, scoring, tiny_checkpoint):
    cli("test", "--config", scoring, "--save-images", "sr")
    lr = Image.fromarray(texture(40, 60, 0)).resize((30, 20), Image.Resampling.BICUBIC)
    wanted = to_image(load_checkpoint(tiny_checkpoint).upscale(to_tensor(np.asarray(lr)), (40, 60)))
    assert np.array_equal(read_image(Path("sr/a.png")), wanted)


@pytest.mark.parametrize(
    ("output", "file"),
    [
        ("-o=photos/b.png", "photos/b.png"),
        ("-o=link.json", "link.json"),
        ("-o=t.yaml", "t.yaml"),
        ("-o=base.yaml", "base.yaml"),
        ("-o=model.pt", "model.pt"),
        ("-o=lr/X2/ax2.png", "lr/X2/ax2.png"),
        ("--save-images=photos", "photos/a.png"),
        ("--save-images=photos/../photos", "photos/../photos/a.png"),
    ],
)
def test_inputs_are_never_overwritten(refused, scoring, tiny_checkpoint, output, file, monkeypatch):
    Path("model.pt").write_bytes(tiny_checkpoint.read_bytes())
    Path("link.json").symlink_to("photos/c.png")
    scoring.rename("base.yaml")
    scoring.write_text("base: base.yaml\n")
    for name, (height, width) in {"a": (20, 30), "b": (22, 25), "c": (24, 24)}.items():
        write_image(Path(f"lr/X2/{name}x2.png"), texture(height, width, 5))
    before = {path: path.read_bytes() for path in Path().rglob("*.*") if path.is_file()}
    monkeypatch.setattr(command, "evaluate", lambda *arguments, **_: pytest.fail("the work began"))
    options = ("--checkpoint", "model.pt", "--set", "lr=lr/X{scale}")
    said = refused("test", "--config", scoring, *options, *output.split("=", 1))
    assert said == f"error: {file}: is an input; choose another name\n"
    assert before == {path: path.read_bytes() for path in Path().rglob("*.*") if path.is_file()}


def test_published_low_resolution_images(cli, scoring, photos):
    for name, (height, width) in {"a": (20, 30), "b": (22, 25), "c": (24, 24)}.items():
        write_image(Path(f"lr/X2/{name}x2.png"), texture(height, width, 5))
    published = ("--set", "lr=lr/X{scale}", "-o", "result.json")
    assert cli("test", "--config", scoring, *published)[0] == 0
    result = json.loads(Path("result.json").read_text())
    assert result["lr"] == "lr/X2"
    assert cli("test", "--config", scoring, *published, "--set", "scale=8", "--overwrite")[0] == 0
    assert json.loads(Path("result.json").read_text())["lr"] == "pillow-bicubic"


def test_scores_that_are_no_numbers_are_null_in_json(cli, scoring):
    write_image(Path("photos/one.png"), np.full((3, 3, 3), 9, np.uint8))
    status, out, _ = cli(
        "test", "--config", scoring, "-o", "result.json",
        "--set", "hr=photos/one.png", "--set", "scale=1", "--set", "protocol=none",
    )  # fmt: skip
    assert status == 0 and "SSIM nan  bicubic inf dB" in out
    text = Path("result.json").read_text()
    result = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert result["ssim"] is None and result["bicubic"] is None and result["psnr"] > 0


def test_engines_and_precisions_give_the_same_scores(cli, scoring):
    psnrs = {}
    for options in ((), ("--engine", "reference"), ("--memory", "0.5m"), ("--precision", "bf16!")):
        assert cli("test", "--config", scoring, "-o", "r.json", "--overwrite", *options)[0] == 0
        result = json.loads(Path("r.json").read_text())
        psnrs[options] = result["psnr"]
        assert result["precision"] == ("bf16" if "bf16!" in options else "float32")
    fast, plain, tiled, rough = psnrs.values()
    assert fast == pytest.approx(plain, abs=1e-4) and fast == pytest.approx(tiled, abs=1e-4)
    assert 1e-6 < abs(fast - rough) < 0.05


def test_a_border_larger_than_the_image(refused, scoring):
    said = refused("test", "--config", scoring, "--set", "scale=20", "--set", "protocol=div2k")
    assert "a.png: 60×40 px is too small" in said and "protocol: none" in said


def test_a_scale_larger_than_the_image(refused, scoring):
    said = refused("test", "--config", scoring, "--set", "scale=50")
    assert "photos/a.png: 60×40 px is too small for scale 50" in said


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


def test_one_image_of_a_published_set(benchmark_data, official_weights, cli):
    """Measured where the whole set gave the published 32.24 dB."""
    status, out, _ = cli(
        "test", "--config", ROOT / "configs" / "test-set5-x4.yaml",
        "--checkpoint", official_weights, "--set", f"data_root={benchmark_data}",
        "--set", "hr=benchmark/Set5/HR/butterfly.png",
        "-o", "o.json",
    )  # fmt: skip
    assert status == 0 and out.startswith("butterfly ")
    result = json.loads(Path("o.json").read_text())
    assert result["psnr"] == pytest.approx(28.6892, abs=0.002)
    assert result["lr"] == "benchmark/Set5/LR_bicubic/X4" and len(result["images"]) == 1


def test_a_configuration_may_name_a_model(cli, scoring):
    text = scoring.read_text()
    scoring.write_text("".join(line for line in text.splitlines(True) if "checkpoint" not in line))
    with scoring.open("a") as file:
        file.write("\ncheckpoint: edsr-light\n")
    status, out, err = cli("test", "--config", scoring)
    assert (status, err) == (0, "") and "mean mine x2" in out
