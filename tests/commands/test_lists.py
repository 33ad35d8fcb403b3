"""`--json` of every list, and earlier spellings of its commands."""

import json
import re

import pytest
from commands.test_runs import make_run

from liif.data.catalog import DATA_SETS
from liif.hub.catalog import MODELS
from liif.models.build import DECODERS, ENCODERS
from liif.models.checkpoint import read_checkpoint


@pytest.fixture
def listed(cli, folder):
    """`liif … --json`, decoded."""

    def run(*arguments):
        status, out, err = cli(*arguments, "--json")
        assert (status, err) == (0, "")
        return json.loads(out, parse_constant=lambda name: pytest.fail(name))

    return run


def test_models(listed, cli, monkeypatch, tmp_path):
    monkeypatch.setenv("LIIF_MODELS", str(tmp_path))
    found = listed("models", "list")
    assert [each["name"] for each in found] == [model.name for model in MODELS]
    assert [each["name"] for each in found if each["is_default"]] == ["lite"]
    by_name = {each["name"]: each for each in found}
    assert by_name["lite"]["path"].endswith("lite.safetensors")
    official = by_name["edsr-liif"]
    assert official["path"] is None and official["size"] == 18_890_445
    assert official["aliases"] == ["edsr-baseline-liif"]


@pytest.mark.parametrize(("kind", "registry"), [("decoders", DECODERS), ("encoders", ENCODERS)])
def test_parts(listed, kind, registry):
    found = listed("models", kind)
    assert list(dict.fromkeys(each["name"] for each in found)) == list(registry)
    assert all(each["parameters"] >= 0 and each["title"] for each in found)
    first = next(each for each in found if each["name"] in ("liif", "edsr-baseline"))
    assert first["set5"] == [37.99, 32.24]


def test_data_sets(listed):
    found = listed("data", "list")
    assert [each["name"] for each in found] == [each.name for each in DATA_SETS]
    part = found[0]["parts"][0]
    assert part["name"] == "div2k-train-hr" and part["folders"] == {"DIV2K/DIV2K_train_HR": 800}


def test_runs(listed, cli, tmp_path):
    make_run(tmp_path, "half")
    (make_run(tmp_path, "strange") / "config.yaml").write_text("steps: many")
    half, strange = listed("runs")
    assert (half["run"], half["state"], half["step"], half["steps"]) == (
        "half",
        "stopped",
        100,
        200,
    )
    assert (half["best_psnr"], half["loss"], half["images_per_s"]) == (27.5, 0.01, 4.0)
    assert half["note"].startswith("liif train --config")
    assert (strange["state"], strange["step"]) == ("damaged", None) and "model" in strange["note"]


def test_earlier_spellings(cli, folder, refused):
    assert cli("download", "--list") == cli("data", "list")
    assert cli("models") == cli("models", "list")
    said = refused("models", "get", "edsr")
    assert said == refused("models", "download", "edsr") and "no such model" in said
    said = refused("download", "div3k")
    assert said == refused("data", "download", "div3k") and "div3k: unknown data set" in said
    assert re.search("see liif data download --help", refused("download"))


def test_a_model_is_converted(cli, tiny_checkpoint, folder):
    command = ("--checkpoint", tiny_checkpoint, "-o")
    assert cli("models", "convert", *command, "a.safetensors")[0] == 0
    assert cli("convert", *command, "b.safetensors")[0] == 0
    first, second = (read_checkpoint(folder / f"{name}.safetensors") for name in "ab")
    assert first.model == second.model and first.weights.keys() == second.weights.keys()
