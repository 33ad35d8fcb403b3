"""Configurations that are shipped: the same files in a checkout and in a wheel, found by name."""

import json
import re
import shutil
from pathlib import Path

import pytest
from helpers.paths import ROOT

from liif.commands import data
from liif.commands.arguments.shared import config_file
from liif.core import shipped
from liif.core.config_file import load_config
from liif.core.shipped import find_config, shipped_configs
from liif.evaluation.config import TestConfig
from liif.training.config import TrainConfig


@pytest.fixture(params=["checkout", "wheel"])
def place(request, folder, monkeypatch) -> Path:
    """The folder of the configurations, where the command runs elsewhere."""
    if request.param == "checkout":
        return ROOT / "configs"
    # What the wheel holds is stated in pyproject.toml: the folder beside the modules.
    text = (ROOT / "pyproject.toml").read_text()
    wheel = text[text.index("[tool.hatch.build.targets.wheel]") :].partition("\n[")[0]
    (source, target), *others = re.findall(r'"([\w/]+)" = "([\w/]+)"', wheel)
    assert not others
    site = folder / "site-packages"
    shutil.copytree(ROOT / source, site / target)
    monkeypatch.setattr(shipped, "__file__", str(site / "liif" / "core" / "shipped.py"))
    return site / "liif" / "configs"


@pytest.mark.parametrize(
    "given", ["test-div2k-x12", "test-div2k-x12.yaml", "configs/test-div2k-x12.yaml"]
)
def test_they_are_found_by_name(place, given):
    assert config_file(given) == place / "test-div2k-x12.yaml"
    assert load_config(TestConfig, config_file(given)).scale == (12, 12)


def test_each_is_found(place):
    for name, file in list(shipped_configs().items())[::20]:
        assert find_config(Path(name)) == file == place / f"{name}.yaml"
    assert {"edsr-liif", "tables/div2k", "base/liif"} <= shipped_configs().keys()


def test_files_of_the_user_come_first(place):
    Path("edsr-liif").mkdir()
    assert config_file("edsr-liif") == place / "edsr-liif.yaml", "a folder is no file"
    Path("edsr-liif.yaml").write_text("steps: 3\n")
    assert config_file("edsr-liif.yaml") == Path("edsr-liif.yaml")
    assert config_file("./none/edsr-liif.yaml") == Path("none/edsr-liif.yaml")
    assert config_file("../edsr-liif") == Path("../edsr-liif")


def test_one_of_the_user_is_based_on_one_of_them(place):
    Path("mine").mkdir()
    Path("mine/c.yaml").write_text("base: edsr-liif\nsteps: 7\n")
    config = load_config(TrainConfig, Path("mine/c.yaml"))
    assert (config.steps, config.model.encoder.name) == (7, "edsr-baseline")
    Path("mine/edsr-liif").write_text("base: configs/small-liif.yaml\n")
    assert load_config(TrainConfig, Path("mine/c.yaml")).batch_size == 4, "the one beside it"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("edsr-lif", "edsr-liif"),
        ("configs/test-set5-x22.yaml", "test-set5-x2"),
        ("ours", "our.yaml"),
    ],
)
def test_a_typo_is_told_what_was_meant(place, refused, given, meant):
    Path("our.yaml").write_text("steps: 3\n")
    said = refused("config", "show", given)
    assert f"error: {given}: no such configuration file; did you mean " in said
    assert meant in re.split(r"[ ?]+", said.partition("did you mean ")[2]) and said.count("\n") == 1


def test_the_run_has_the_name(place, refused):
    said = refused("train", "--config", "configs/edsr-liif.yaml")
    assert "train_data.images" in said and "DIV2K_train_HR: no such file" in said
    said = refused("test", "--config", "test-set5-x2")
    assert "  liif train --config edsr-liif\n" in said


def test_tables(place, refused):
    assert "DIV2K" in refused("tables", "--table", "div2k", "--sets", "div2k", "--scales", "2")
    said = refused("tables", "--table", "dv2k")
    assert said.startswith(
        "error: --table dv2k: no such table; available: ablation, asymmetric, benchmark,"
    )


def test_the_list(cli, place):
    status, out, _ = cli("config", "list")
    lines = dict(line.split(None, 1) for line in out.splitlines())
    assert status == 0 and "main model" in lines["edsr-liif"] and "base/liif" not in lines
    found = json.loads(cli("config", "list", "--json")[1])
    assert [each["name"] for each in found] == list(lines)
    assert all(Path(each["file"]).is_file() and each["title"] for each in found)


def test_check_looks_at_all_of_them(cli, folder, monkeypatch):
    """Where there is no folder configs."""
    (folder / "shipped").mkdir()
    for name in ("quickstart", "edsr-liif"):
        (folder / "shipped" / f"{name}.yaml").write_text(f"base: {name}\n")
    monkeypatch.setattr(data, "shipped_folder", lambda: folder / "shipped")
    out = cli("data", "check")[1]
    assert "usable: 1 of 2 configurations" in out and "quickstart.yaml" in out
