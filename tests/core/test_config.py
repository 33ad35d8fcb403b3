"""Configurations: the files of the project, defaults, values, bases and overrides."""

from pathlib import Path

import pytest
from helpers.configs import TEST, TRAIN, mistakes

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
    if not name:  # scales in between
        name, _, kind = path.stem.removeprefix("test-").partition("-")
        recipe, is_equal = {"asymmetric": ("arbsr", False), "non-integer": ("liif", True)}[kind]
        assert (config.set, config.protocol, config.lr_recipe) == (name, "benchmark", recipe)
        assert (config.scale[0] == config.scale[1]) == is_equal and config.published_lr is None
        return
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


# Bases and overrides


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


@pytest.mark.parametrize("base", ["c.yaml", "./c.yaml", "d.yaml"])
def test_a_cycle_of_bases_is_an_error(yaml_file, base):
    yaml_file("base: c.yaml\n", "d.yaml")
    assert mistakes(TrainConfig, yaml_file(f"base: {base}\n")) == "c.yaml: is its own base"


def test_the_size_of_a_file_and_the_number_of_bases_are_bounded(yaml_file):
    path = yaml_file("#" + "x" * 2**17)
    assert mistakes(TrainConfig, path).startswith("c.yaml: too large for a configuration: at most")
    for i in range(60):
        yaml_file(f"base: {i + 1}.yaml\n", f"{i}.yaml")
    assert mistakes(TrainConfig, Path("0.yaml")) == "51.yaml: too many bases: at most 50"


def test_a_base_of_a_base_is_no_cycle(yaml_file):
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
