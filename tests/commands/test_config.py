"""`liif config`: the schema of configuration files, and where the values of one come from."""

import json

import pytest
import yaml
from helpers.configs import TEST, TRAIN
from helpers.paths import ROOT
from jsonschema import Draft7Validator

from liif.commands.config import KINDS
from liif.core.config_file import load_config
from liif.core.config_schema import field_docs, files_schema, kind_of
from liif.evaluation.config import TestConfig
from liif.evaluation.table_config import TableConfig
from liif.training.config import TrainConfig

FILE = ROOT / "configs" / "schema.json"
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.fixture(scope="module")
def validator():
    schema = files_schema(KINDS)
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def test_the_committed_schema_is_current(cli):
    status, out, _ = cli("config", "schema")
    assert status == 0 and json.loads(out) == files_schema(KINDS)
    wanted = "run: liif config schema > configs/schema.json"
    assert json.loads(FILE.read_text()) == json.loads(out), wanted


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_configuration_of_the_project_is_valid(validator, file):
    errors = list(validator.iter_errors(yaml.safe_load(file.read_text())))
    assert not errors, errors[0]


@pytest.mark.parametrize("text", [TRAIN, TEST])
def test_complete_files_and_single_keys_are_valid(validator, text):
    values = yaml.safe_load(text)
    for each in (values, *({key: value} for key, value in values.items())):
        assert validator.is_valid({"base": "other.yaml", **each})


@pytest.mark.parametrize(
    "text",
    [
        "step: 3",
        "steps: 0",
        "steps: '3'",
        "base: 3",
        "model: {encoder: {name: edsr}}",
        "model: {encoder: {name: rdn, depth: 3}}",
        "train_data: {sampling: random-scale, cache: disk}",
        "optimizer: sgd",
        "betas: [0.9, 1]",
        "betas: [0.9]",
        "groups: [{mtch: x}]",
        "init: {head: x}",
        "loss: [{name: zzz}]",
        "valid: {patience: 0}",
        "scale: 0.5",
        "scale: [2, 2, 2]",
        "hr: a\nsteps: 3",
        "rows: [{nme: x}]",
    ],
)
def test_mistakes_are_marked(validator, text):
    assert not validator.is_valid(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "scale: 2",
        "scale: [2, 3.5]",
        "init: a.pt",
        "init: {encoder: a.pt}",
        "init: null",
        "valid: null",
        "optimizer: adamw",
        "compile: max-autotune",
        "model: {encoder: {width: 32}}",
        "groups: [{match: x, freeze: true}]",
    ],
)
def test_values_of_every_form_are_valid(validator, text):
    assert validator.is_valid(yaml.safe_load(text))


def test_keys_are_described():
    schema = files_schema(KINDS)["definitions"]
    properties = schema["TrainConfig"]["properties"]
    assert properties["batch_size"]["description"] == "Samples per step, over all processes."
    assert field_docs(TrainConfig)["accumulate"] == properties["accumulate"]["description"]
    assert "base" in properties and "base" in schema["TestConfig"]["properties"]


def test_the_kind_of_a_file():
    assert kind_of(["steps", "data_root"], KINDS) is TrainConfig
    assert kind_of([], KINDS) is kind_of(["data_root"], KINDS) is TrainConfig
    assert kind_of(["data_root", "scale"], KINDS) is TestConfig
    assert kind_of(["rows"], KINDS) is TableConfig


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("quickstart", TrainConfig),
        ("edsr-liif-fast", TrainConfig),
        ("celebahq-32-256-liif", TrainConfig),
        ("test-set5-x2", TestConfig),
        ("tables/light", TableConfig),
    ],
)
def test_what_is_shown_is_the_same_configuration(cli, folder, name, kind):
    file = ROOT / "configs" / f"{name}.yaml"
    status, out, _ = cli("config", "show", file)
    assert status == 0
    (folder / "again.yaml").write_text(out)
    assert load_config(kind, folder / "again.yaml") == load_config(kind, file)


def origins(out):
    """What the remark of each line says, by its key."""
    pairs = [line.split("  # ") for line in out.splitlines() if "  # " in line]
    return {text.split(":")[0].strip(): origin for text, origin in pairs}


def test_every_value_states_its_origin(cli, yaml_file):
    yaml_file(TRAIN + "batch_size: 3\nlearning_rate: 1e-3\n", "low.yaml")
    yaml_file("base: low.yaml\nbatch_size: 4\nmodel: {decoder: {hidden: [8]}}\n", "high.yaml")
    arguments = ["--set", "learning_rate=2e-3", "--set", "groups=[{match: 'a # b: *'}]"]
    status, out, _ = cli("config", "show", "high.yaml", *arguments)
    found = origins(out)
    assert status == 0
    assert found["batch_size"] == found["hidden"] == "high.yaml"
    assert found["learning_rate"] == "--set learning_rate"
    assert found["warm_up"] == "default"
    assert found["images"] == "low.yaml"
    assert load_config(TrainConfig, yaml_file(out, "all.yaml")).groups[0].match == "a # b: *"


def test_a_section_with_another_name_forgets_the_old_ones_values(cli, yaml_file):
    yaml_file(TRAIN, "low.yaml")
    text = "base: low.yaml\nmodel: {encoder: {name: edsr-baseline, width: 16}}\n"
    yaml_file(text, "middle.yaml")
    yaml_file("base: middle.yaml\nmodel: {encoder: {name: rdn}}\n", "high.yaml")
    found = origins(cli("config", "show", "high.yaml")[1])
    assert found["width"] == found["configuration"] == "default"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: 3\n", "c.yaml: model: must be given"),
        (TRAIN + "stepz: 3\n", "c.yaml: stepz: unknown key; did you mean 'steps'?"),
        (TEST + "scael: 3\n", "unknown key; did you mean 'scale'?"),
        ("- 1\n", "must hold keys and values"),
    ],
)
def test_mistakes_are_explained(refused, yaml_file, text, said):
    assert said in refused("config", "show", yaml_file(text))


def test_a_missing_file_and_action(refused, folder):
    assert "nowhere.yaml: no such configuration" in refused("config", "show", "nowhere.yaml")
    assert "liif config --help" in refused("config")
