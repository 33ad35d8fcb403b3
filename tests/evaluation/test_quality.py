"""Metrics of pyiqa: a stand-in that has its interface, and pyiqa itself where it is installed."""

import builtins
import importlib.util
import json
import math
import sys
import types
from pathlib import Path

import pytest
import torch

from liif.evaluation.quality import quality_metrics
from liif.images.rgb8 import read_image, write_image


class Distance(torch.nn.Module):
    """The mean absolute difference, in pyiqa's interface."""

    metric_mode, lower_better = "FR", True

    def forward(self, target, ref=None):
        assert target.dtype == torch.float32 and target.shape[:2] == (1, 3)
        if min(target.shape[2:]) < 20:
            raise AssertionError("Input is too small.\nSee the documentation.")
        return (target - ref).abs().mean()[None, None]


class Brightness(torch.nn.Module):
    """The mean of an image, without a reference, as a plain number."""

    metric_mode, lower_better = "NR", False

    def forward(self, target):
        return target.mean().item()


@pytest.fixture
def pyiqa(monkeypatch):
    """A stand-in for pyiqa of three metrics; the weights of the last one cannot be downloaded."""

    def create_metric(name, device=None):
        if name == "far":
            raise ConnectionError("no route to host\nmore of it")
        return {"near": Distance, "bright": Brightness}[name]().to(device)

    package = types.ModuleType("pyiqa")
    package.list_models = lambda: ["near", "bright", "far"]
    package.create_metric = create_metric
    monkeypatch.setitem(sys.modules, "pyiqa", package)
    return package


def test_a_test_scores_by_names_of_pyiqa(cli, pyiqa, photos, folder, tiny_checkpoint):
    asked = ("test", "--data", "photos", "--checkpoint", tiny_checkpoint, "--scale", "2", "--round")
    status, out, _ = cli(
        *asked, "--metric", "near", "bright", "-o", "r.json", "--save-images", "sr"
    )
    result = json.loads(Path("r.json").read_text())
    assert status == 0 and set(result["quality"]) == {"near", "bright"}
    for kind in ("near", "bright"):
        values = [each["quality"][kind] for each in result["images"]]
        assert result["quality"][kind] == pytest.approx(sum(values) / 3)
    assert f"near {result['images'][0]['quality']['near']:.4f}" in out
    assert out.splitlines()[-2].split()[-2:] == ["near", "bright"]
    assert out.splitlines()[-1].split()[-1] == f"{result['quality']['bright']:.4f}"
    # Of the pixels that the protocol leaves: without two at each edge.
    sr, hr = (read_image(Path(f"{folder}/a.png")) / 255 for folder in ("sr", "photos"))
    sr, hr = (image[2 : len(sr) - 2, 2 : sr.shape[1] - 2] for image in (sr, hr))
    assert result["images"][0]["quality"]["near"] == pytest.approx(abs(sr - hr).mean(), abs=1e-6)
    assert "quality" not in json.loads(
        (cli(*asked, "-o", "r.json", "--overwrite"), Path("r.json").read_text())[1]
    )


def test_files_are_scored_with_and_without_true_images(cli, pyiqa, photos, folder):
    status, out, _ = cli("metrics", "photos", "photos", "--metric", "near", "--metric", "bright")
    assert status == 0 and out.splitlines()[0] == "3 images, all pixels, by pyiqa"
    assert out.splitlines()[1].split() == ["near", "0.0000", "lower", "is", "better"]
    _, out, _ = cli("metrics", "photos/a.png", "--metric", "bright", "--json")
    (row,) = json.loads(out)["metrics"]
    mean = read_image(Path("photos/a.png")).mean() / 255
    assert row["images"] == {"a": pytest.approx(mean, abs=1e-6)} and not row["needs_reference"]
    asked = ("--protocol", "psnr colour=rgb border=0", "--metric", "near", "--json")
    _, out, _ = cli("metrics", "photos", "photos", *asked)
    assert {"rows", "metrics"} <= json.loads(out).keys()


def test_what_is_wrong_is_said_before_the_work(cli, refused, pyiqa, photos, folder):
    for command in (("metrics", "photos", "photos"), ("test", "--data", "photos")):
        said = refused(*command, "--metric", "brigth")
        assert said.startswith("error: --metric brigth: not among pyiqa's 3 metrics; did you mean ")
        said = refused(*command, "--metric", "near", "far")
        assert said.count("\n") == 1 and "--metric far: pyiqa cannot set it up" in said
        assert said.endswith("no route to host\n")
    assert "HR is needed: near compares" in refused("metrics", "photos", "--metric", "near")
    assert "HR is needed: the true images" in refused("metrics", "photos")
    asked = ("metrics", "photos", "--metric", "bright", "--claim", "30")
    assert "HR is needed: the true images" in refused(*asked)


def test_an_image_that_a_metric_does_not_take_is_named(cli, refused, pyiqa, folder):
    write_image(Path("small/s.png"), torch.zeros(12, 30, 3, dtype=torch.uint8).numpy())
    said = refused("metrics", "small", "small", "--metric", "near")
    assert said == ("error: small/s.png: near of pyiqa fails on 12×30 px: Input is too small.\n")
    said = refused("test", "--data", "small", "--scale", "2", "--metric", "near")
    assert "1 of 1 images have no scores: s: near of pyiqa fails on 8×26 px" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("", name="pyiqa"), 'needs the package pyiqa: pip install "liif[iqa]"'),
        (ModuleNotFoundError("No module named 'timm'", name="timm"), "cannot be imported: No mod"),
        (RuntimeError("numpy is too new\nfor it"), "pyiqa cannot be imported: numpy is too new\n"),
    ],
)
def test_a_package_that_is_missing_is_told(refused, photos, folder, monkeypatch, error, said):
    plain = builtins.__import__

    def find(name, *arguments, **options):
        if name == "pyiqa":
            raise error
        return plain(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "pyiqa", raising=False)
    monkeypatch.setattr("liif.evaluation.quality.importlib.import_module", find)
    assert said in refused("metrics", "photos", "photos", "--metric", "niqe")


@pytest.mark.skipif(importlib.util.find_spec("pyiqa") is None, reason="needs pyiqa")
def test_pyiqa_gives_the_numbers_of_our_definitions(cli, photos, folder):
    for i, path in enumerate(sorted(photos.glob("*.png"))):
        write_image(Path("sr") / path.name, read_image(path) // 2 * 2 + i % 2)
    names = {"psnr": "pyiqa-psnr", "psnry": "pyiqa-psnry", "ssim": "pyiqa-ssim"}
    names["ssimc"] = "pyiqa-ssimc"
    _, out, _ = cli("metrics", "sr", "photos", "--metric", *names, "--json")
    theirs = {row["metric"]: row["value"] for row in json.loads(out)["metrics"]}
    for metric, protocol in names.items():
        _, out, _ = cli("metrics", "sr", "photos", "--protocol", protocol, "--json")
        kind = metric[:4]
        assert theirs[metric] == pytest.approx(json.loads(out)["rows"][0][kind]["value"], abs=2e-4)
    assert all(math.isfinite(value) for value in theirs.values())
    assert [each.lower_is_better for each in quality_metrics(["psnr"], torch.device("cpu"))] == [
        False
    ]
