"""Configurations: those of the project, defaults, and values as people write them."""

from pathlib import Path

import pytest
from helpers.configs import TEST, TRAIN

from liif.core.config_file import dump_config, load_config
from liif.evaluation.config import TestConfig
from liif.training.config import TrainConfig

CONFIGS = Path(__file__).parents[2] / "configs"
MAIN = sorted(CONFIGS.glob("*.yaml"))


def test_defaults_are_those_of_the_paper(yaml_file):
    config = load_config(TrainConfig, yaml_file(TRAIN))
    assert (config.steps, config.batch_size, config.learning_rate) == (1_000_000, 16, 1e-4)
    assert config.milestones == (200_000, 400_000, 600_000, 800_000) and config.decay == 0.5
    assert (config.train_data.patch, config.train_data.queries) == (48, 2304)
    assert config.train_data.scale == (1, 4) and config.train_data.augment


# The files that come with the project


def test_there_are_configs():
    assert {"edsr-liif", "rdn-liif", "test-set5-x2", "test-div2k-x30"} <= {p.stem for p in MAIN}


@pytest.mark.parametrize("path", MAIN, ids=lambda path: path.stem)
def test_every_config_loads_and_says_how_it_is_used(path, tmp_path):
    text = path.read_text()
    is_test = path.stem.startswith("test-")
    config = load_config(TestConfig if is_test else TrainConfig, path)
    lines = text.splitlines()
    assert len(lines) <= 25
    header = [line for line in lines if line.startswith("#")]
    assert lines[: len(header)] == header
    script = "test" if is_test else "train"
    assert f"python scripts/{script}.py --config configs/{path.name}" in "\n".join(header)
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(config))
    assert load_config(type(config), copy) == config


@pytest.mark.parametrize("path", [p for p in MAIN if p.stem.startswith("test-")], ids=str)
def test_test_configs_are_what_their_names_say(path):
    config = load_config(TestConfig, path)
    name, _, scale = path.stem.removeprefix("test-").rpartition("-x")
    assert config.set == name and config.scale == (int(scale),) * 2
    faces = name.startswith("celebahq")
    assert config.protocol == ("none" if faces else "div2k" if name == "div2k" else "benchmark")
    published = config.published_lr
    assert (published is not None) == (int(scale) <= 4 or faces)
    assert published is None or faces or published.endswith(f"/X{scale}")


# Values


@pytest.mark.parametrize(
    ("given_text", "value"),
    [("1e-4", 1e-4), ("1E-4", 1e-4), ("1.0e-4", 1e-4), (".5", 0.5), ("1_0.5", 10.5), ("+2", 2)],
)
def test_numbers_as_people_write_them(yaml_file, given_text, value):
    assert load_config(
        TrainConfig, yaml_file(TRAIN + f"learning_rate: {given_text}\n")
    ).learning_rate == (value)
    override = f"learning_rate={given_text}"
    assert load_config(TrainConfig, yaml_file(TRAIN), [override]).learning_rate == value


def test_leading_zeros_and_colons_are_not_other_number_systems(yaml_file):
    assert load_config(TestConfig, yaml_file(TEST), ["scale=010"]).scale == (10, 10)
    assert load_config(TestConfig, yaml_file(TEST), ["hr=1:30"]).hr == "1:30"
    assert load_config(TestConfig, yaml_file(TEST), ["hr=2024-01-01"]).hr == "2024-01-01"


@pytest.mark.parametrize(
    ("given_text", "scale"),
    [("2", (2, 2)), ("2.5", (2.5, 2.5)), ("[2, 3.5]", (2, 3.5)), ("1000", (1000, 1000))],
)
def test_scales(yaml_file, given_text, scale):
    assert load_config(TestConfig, yaml_file(TEST), [f"scale={given_text}"]).scale == scale


@pytest.mark.parametrize(
    ("scale", "published"),
    [("2", "LR/X2"), ("4", "LR/X4"), ("2.5", None), ("8", None), ("[2, 3]", None)],
)
def test_published_low_resolution_images_are_for_their_scales_only(yaml_file, scale, published):
    path = yaml_file(TEST + "lr: LR/X{scale}\n")
    assert load_config(TestConfig, path, [f"scale={scale}"]).published_lr == published


AWKWARD = [
    "1e-4",
    "1e5",
    "010",
    "yes",
    "null",
    "1:30",
    "2020-01-01",
    "a: b",
    "#x",
    "",
    " é×\n",
    "~",
]


@pytest.mark.parametrize("text", AWKWARD)
def test_text_that_looks_like_something_else_survives_a_round_trip(yaml_file, text):
    config = TestConfig(set=text, hr=text, scale=(2.0, 3.5), protocol="none", checkpoint=text)
    assert load_config(TestConfig, yaml_file(dump_config(config))) == config


def test_numbers_survive_a_round_trip(yaml_file):
    config = load_config(
        TrainConfig,
        yaml_file(TRAIN),
        ["learning_rate=1e-05", "ema=0.999", "seed=9223372036854775807"],
    )
    assert load_config(TrainConfig, yaml_file(dump_config(config), "d.yaml")) == config
