"""Mistakes in configurations are explained with file, key and valid values."""

from pathlib import Path

import pytest
from helpers.configs import TEST, TRAIN, mistakes

from liif.core.config_file import load_config
from liif.data.random_scale import RandomScale
from liif.evaluation.config import TestConfig
from liif.evaluation.table_config import RowConfig, TableConfig
from liif.models.build import DECODERS, ENCODERS
from liif.training.config import TrainConfig

ENCODER_NAMES, DECODER_NAMES = ", ".join(sorted(ENCODERS)), ", ".join(sorted(DECODERS))
SAMPLINGS = TrainConfig.model_json_schema()["properties"]["train_data"]["discriminator"]["mapping"]
SAMPLING_NAMES = ", ".join(sorted(SAMPLINGS))
KEYS, DATA_KEYS, ENCODER_KEYS, DECODER_KEYS = (
    ", ".join(sorted(section.model_fields))
    for section in (TrainConfig, RandomScale, ENCODERS["edsr-baseline"], DECODERS["liif"])
)
"""Those of the sections in TRAIN."""
ROW_KEYS = ", ".join(sorted(RowConfig.model_fields))

# Files that are no configuration


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must hold keys and values"),
        (b"# a comment\n", "must hold keys and values"),
        (b"- 1\n- 2\n", "must hold keys and values"),
        (b"text\n", "must hold keys and values"),
        (b"a: [1\n", "not valid YAML"),
        (b"a: b: c\n", "not valid YAML"),
        (b"a:\t- b\n\tc", "not valid YAML"),
        (b"a: 1\n---\nb: 1\n", "not valid YAML"),
        (b"a: 1\nb: 2\na: 3\n", "key 'a' is given twice"),
        (b"b:\n  a: 1\n  a: 3\n", "line 2: key 'a' is given twice"),
        (b"1: a\n'1': b\n", "key '1' is given twice"),
        (b"a: &x 1\nb: *x\n", "aliases (*name) are not supported; use `base:`"),
        (b"a: &x [*x]\n", "aliases (*name) are not supported; use `base:`"),
        (b"a: !!bool x\n", "tags (!name) are not supported"),
        (b"a: !!python/object/apply:os.system [ls]\n", "tags (!name) are not supported"),
        (b"? [a]\n: 1\n", "not valid YAML"),
        (b"a: " + b"[" * 5000, "not valid YAML"),
        (b"a: " + b"[" * 300 + b"]" * 300, "its values are nested too deeply"),
        (b'a: "\\ud800"\n', "not valid YAML"),
        (b"a: \x01\n", "not valid YAML"),
        (b"\xff\xfe\x00\x89PNG", "not a text file"),
        (b'base: "\\0"\n', "cannot be read"),
        (b"base: 3\n", "base: must be a file name"),
        (b"base: .\n", "cannot be read: Is a directory"),
        (b"base: nowhere.yaml\n", "nowhere.yaml: no such configuration file"),
    ],
)
def test_files_that_are_no_configuration(yaml_file, content, said):
    message = mistakes(TestConfig, yaml_file(content))
    assert said in message
    assert "\n" not in message and len(message) < 400


def test_a_missing_file_and_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mistakes(TestConfig, Path("x.yaml")) == "x.yaml: no such configuration file"
    assert mistakes(TestConfig, Path()) == ".: cannot be read: Is a directory"


def test_a_file_from_windows(yaml_file):
    config = load_config(TestConfig, yaml_file("\ufeff" + TEST.replace("\n", "\r\n")))
    assert config.hr == "images"


# Keys and values that are wrong: (override, what the message says besides "--set KEY")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("step", "1", f"unknown key; did you mean 'steps'? valid keys are {KEYS}"),
        ("zzz", "1", f"unknown key; valid keys are {KEYS}"),
        ("model.encoder.nam", "rdn", f"did you mean 'name'? valid keys are {ENCODER_KEYS}"),
        ("model.decoder.hiden", "[1]", f"did you mean 'hidden'? valid keys are {DECODER_KEYS}"),
        ("model.decoder.liif", "1", "unknown key"),
        ("model.encoder.name", "rdnn", f"'rdnn'; did you mean 'rdn'? choose from {ENCODER_NAMES}"),
        ("model.decoder.name", "xyz", f"'xyz'; choose from {DECODER_NAMES}"),
        ("model.encoder.name", "null", f"name must be given; choose from {ENCODER_NAMES}"),
        ("model.encoder", "rdn", 'must be keys and values, not "rdn"'),
        (
            "train_data.sampling",
            "pair",
            f"did you mean 'pairs'? choose from {SAMPLING_NAMES}",
        ),
        ("train_data.random-scale", "1", f"unknown key; valid keys are {DATA_KEYS}"),
        ("train_data.sampling", "pairs", "train_data.lr: must be given"),
        ("train_data.cache", "disk", "must be 'none', 'memory', 'mmap' or 'device', not"),
        ("train_data.scale", "[4, 1]", "must be [low, high] with low <= high"),
        ("train_data.scale", "[0.5, 1]", "must be greater than or equal to 1, not 0.5"),
        ("train_data.scale", "[1, 1e308]", "must be less than or equal to 1000"),
        ("train_data.scale", "[1, 2, 3]", "must have at most 2 items, not 3"),
        ("train_data.scale", "2", "must be a list, not 2"),
        ("train_data.queries", "2305", "at most the 2304 pixels of the smallest crop"),
        ("train_data.patch", "1" + "0" * 400, "must be less than or equal to 65536"),
        ("train_data.patch", "47", "at most the 2209 pixels of the smallest crop"),
        ("train_data", "null", "must be keys and values, not null"),
        ("steps", "0", "must be greater than 0, not 0"),
        ("steps", "1.5", "must be a whole number, not 1.5"),
        ("steps", "16.0", "must be a whole number, not 16.0"),
        ("steps", "'16'", 'must be a whole number, not "16"'),
        ("steps", "true", "must be a whole number, not true"),
        ("steps", "1" + "0" * 30, "must be less than or equal to"),
        ("workers", "-1", "must be greater than or equal to 0, not -1"),
        ("learning_rate", ".inf", "must be a finite number"),
        ("learning_rate", ".nan", "must be a finite number"),
        ("learning_rate", "'1e-4'", 'must be a number, not "1e-4"'),
        ("learning_rate", "0", "must be greater than 0, not 0"),
        ("compile", "1", "must be true, false or max-autotune"),
        ("cuda_graphs", "1", "must be true, false or auto"),
        ("ema", "1", "must be less than 1, not 1"),
        ("precision", "fp8", "or 'fp16!', not \"fp8\""),
        ("milestones", "[0]", "milestones.0: must be greater than 0, not 0"),
        ("milestones", "3", "must be a list, not 3"),
        ("valid", "{}", "valid.images: must be given"),
        ("valid", "{images: 3}", "valid.images: must be text, not 3"),
        ("valid", "{images: x, lr: y, degrade: area}", "degrade: excludes lr, whose images would"),
        ("valid", "{images: x, scales: []}", "valid.scales: must have at least 1 item, not 0"),
        ("valid", "{images: x, scales: [0]}", "valid.scales.0: must be greater than or equal to 1"),
        ("init", "3", "must be a file or name, or one for a part: {encoder: FILE}"),
        ("optimizer", "adamm", "must be 'adam', 'adamw' or 'muon', not \"adamm\""),
        ("betas", "[0.9]", "betas.1: must be given"),
        ("groups", "{match: x}", "must be a list"),
        ("groups", "[{mtch: x}]", "groups.0.mtch: unknown key; did you mean 'match'?"),
        ("groups", "[{match: x, freeze: 1}]", "groups.0.freeze: must be true or false, not 1"),
        ("seed", "[1", "not valid YAML"),
        ("seed", "9223372036854775808", "must be less than 9223372036854775808"),
    ],
)
def test_wrong_keys_and_values(yaml_file, key, value, said):
    message = mistakes(TrainConfig, yaml_file(TRAIN), f"{key}={value}")
    assert message.startswith(f"--set {key}")
    assert said in message
    assert "pydantic" not in message and "Input" not in message and "JSON" not in message


@pytest.mark.parametrize("value", ["0", "-2", "0.5", "1001", ".inf", ".nan", "1" + "0" * 400])
def test_impossible_scales_are_reported_once(yaml_file, value):
    message = mistakes(TestConfig, yaml_file(TEST), f"scale={value}")
    assert message.startswith("--set scale: must be from 1 to 1000, not ")


@pytest.mark.parametrize("value", ["abc", "'2'", "[2]", "[2, 3, 4]", "yes", "null", "{a: 1}"])
def test_scales_that_are_no_numbers(yaml_file, value):
    said = "must be a number such as 2 or 2.5, or two: [vertical, horizontal]"
    assert said in mistakes(TestConfig, yaml_file(TEST), f"scale={value}")
    assert "scale.1: must be greater than or equal to 1, not -3" in mistakes(
        TestConfig, yaml_file(TEST), "scale=[2, -3]"
    )


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mean", ".nan", "must be a number, or a list with one for each channel, not nan"),
        ("mean", "[]", "must be a number, or a list with one for each channel, not []"),
        ("mean", "'0.5'", "must be a number, or a list with one for each channel, not 0.5"),
        ("std", "true", "must be a number, or a list with one for each channel, not True"),
        ("std", "0", "must be greater than 0, not 0"),
        ("std", "[1, 1, -2]", "must be greater than 0, not [1, 1, -2]"),
    ],
)
def test_normalization_is_a_number_or_a_list(yaml_file, key, value, said):
    key = f"model.normalization.{key}"
    found = mistakes(TrainConfig, yaml_file(TRAIN), f"{key}={value}")
    assert found == f"--set {key}: {said}"


def test_a_list_of_mistakes_is_not_called_empty(yaml_file):
    text = "title: a table\nsets: {}\nrows: [{nam: x}]\n"
    lines = mistakes(TableConfig, yaml_file(text)).splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == [
        "sets: must hold at least 1 item, not 0",
        "rows.0.name: must be given",
        f"rows.0.nam: unknown key; did you mean 'name'? valid keys are {ROW_KEYS}",
    ]


@pytest.mark.parametrize("override", ["steps", "=3", ""])
def test_overrides_without_key_or_value(yaml_file, override):
    assert f"--set {override}: must be KEY=VALUE" in mistakes(
        TrainConfig, yaml_file(TRAIN), override
    )


def test_every_mistake_is_listed_with_file_and_dotted_key(yaml_file):
    text = TRAIN.replace("width: 8", "width: x").replace("images: x", "imges: x") + "stepz: 1\n"
    lines = mistakes(TrainConfig, yaml_file(text)).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["c.yaml", "model.encoder.width"],
        ["c.yaml", "train_data.images"],
        ["c.yaml", "train_data.imges"],
        ["c.yaml", "stepz"],
    ]
    assert "did you mean 'images'?" in lines[2] and "did you mean 'steps'?" in lines[3]
