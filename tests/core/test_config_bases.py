"""A configuration on top of others: bases, sections, overrides."""

from pathlib import Path

import pytest
from helpers.configs import TRAIN, mistakes

from liif.core.config_file import load_config
from liif.training.config import TrainConfig


def test_bases_chain_and_the_later_wins(yaml_file):
    Path("base").mkdir()
    yaml_file(TRAIN + "steps: 10\nbatch_size: 3\n", "base/root.yaml")
    yaml_file("base: root.yaml\nsteps: 20\nmodel: {encoder: {width: 9}}\n", "base/middle.yaml")
    config = load_config(TrainConfig, yaml_file("base: base/middle.yaml\nseed: 4\n"), ["steps=30"])
    assert (config.steps, config.batch_size, config.seed) == (30, 3, 4)
    assert config.model.encoder.model_dump() == {
        "name": "edsr-baseline", "blocks": 1, "width": 9, "residual_scale": 1.0,
    }  # fmt: skip


def test_a_section_of_another_kind_replaces_the_whole_section(yaml_file):
    yaml_file(TRAIN, "root.yaml")
    config = load_config(TrainConfig, yaml_file("base: root.yaml\nmodel: {encoder: {name: rdn}}\n"))
    assert config.model.encoder.model_dump()["name"] == "rdn"  # without the old one's `blocks`
    new = "train_data={sampling: pairs, lr: l, hr: h}"
    assert load_config(TrainConfig, yaml_file(TRAIN), [new]).train_data.lr == "l"


def test_null_takes_a_section_away(yaml_file):
    path = yaml_file(TRAIN + "valid: {images: x}\n")
    assert load_config(TrainConfig, path).valid is not None
    assert load_config(TrainConfig, path, ["valid=null"]).valid is None


def test_overrides_come_in_order(yaml_file):
    assert load_config(TrainConfig, yaml_file(TRAIN), ["steps=1", "steps=2"]).steps == 2
    patch = load_config(
        TrainConfig, yaml_file(TRAIN), ["train_data.patch=64", "train_data.queries=9"]
    )
    assert (patch.train_data.patch, patch.train_data.queries) == (64, 9)


@pytest.mark.parametrize("base", ["c.yaml", "./c.yaml"])
def test_a_file_that_is_its_own_base(yaml_file, base):
    assert mistakes(TrainConfig, yaml_file(f"base: {base}\n")) == "c.yaml: is its own base"


def test_a_circle_of_bases(yaml_file):
    yaml_file("base: c.yaml\n", "d.yaml")
    assert "c.yaml: is its own base" in mistakes(TrainConfig, yaml_file("base: d.yaml\n"))


def test_one_base_twice_is_no_circle(yaml_file):
    yaml_file(TRAIN, "root.yaml")
    yaml_file("base: root.yaml\n", "middle.yaml")
    assert load_config(TrainConfig, yaml_file("base: middle.yaml\n")).steps == 1_000_000


def test_a_mistake_is_found_in_the_file_that_made_it(yaml_file):
    yaml_file(TRAIN + "steps: abc\n", "root.yaml")
    path = yaml_file("base: root.yaml\nbatch_size: 0\n")
    lines = mistakes(TrainConfig, path, "seed=-1").splitlines()
    assert sorted(lines) == [
        "--set seed: must be greater than or equal to 0, not -1",
        "c.yaml: batch_size: must be greater than 0, not 0",
        'root.yaml: steps: must be a whole number, not "abc"',
    ]
