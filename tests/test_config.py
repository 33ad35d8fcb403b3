"""Configurations: reading, bases, overrides, and mistakes explained with file, key and choices."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liif.config import TestConfig, TrainConfig
from liif.configfile import dump_config, load_config
from liif.errors import UserError

CONFIGS = Path(__file__).parent.parent / "configs"
MAIN = sorted(CONFIGS.glob("*.yaml"))
TEST = "set: s\nhr: images\nscale: 2\nprotocol: benchmark\n"
TRAIN = """\
model:
  encoder: {name: edsr-baseline, blocks: 1, width: 8}
  decoder: {name: liif, hidden: [16]}
train_data: {sampling: random-scale, images: x}
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes a configuration and gives its relative name, as a user would type it."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="c.yaml"):
        path = Path(name)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def mistakes(kind, path, *overrides):
    with pytest.raises(UserError) as caught:
        load_config(kind, path, overrides)
    return str(caught.value)


def test_defaults_are_those_of_the_paper(file):
    config = load_config(TrainConfig, file(TRAIN))
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
def test_numbers_as_people_write_them(file, given_text, value):
    assert load_config(
        TrainConfig, file(TRAIN + f"learning_rate: {given_text}\n")
    ).learning_rate == (value)
    override = f"learning_rate={given_text}"
    assert load_config(TrainConfig, file(TRAIN), [override]).learning_rate == value


def test_leading_zeros_and_colons_are_not_other_number_systems(file):
    assert load_config(TestConfig, file(TEST), ["scale=010"]).scale == (10, 10)
    assert load_config(TestConfig, file(TEST), ["hr=1:30"]).hr == "1:30"
    assert load_config(TestConfig, file(TEST), ["hr=2024-01-01"]).hr == "2024-01-01"


@pytest.mark.parametrize(
    ("given_text", "scale"),
    [("2", (2, 2)), ("2.5", (2.5, 2.5)), ("[2, 3.5]", (2, 3.5)), ("1000", (1000, 1000))],
)
def test_scales(file, given_text, scale):
    assert load_config(TestConfig, file(TEST), [f"scale={given_text}"]).scale == scale


@pytest.mark.parametrize(
    ("scale", "published"),
    [("2", "LR/X2"), ("4", "LR/X4"), ("2.5", None), ("8", None), ("[2, 3]", None)],
)
def test_published_low_resolution_images_are_for_their_scales_only(file, scale, published):
    path = file(TEST + "lr: LR/X{scale}\n")
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
def test_text_that_looks_like_something_else_survives_a_round_trip(file, text):
    config = TestConfig(set=text, hr=text, scale=(2.0, 3.5), protocol="none", checkpoint=text)
    assert load_config(TestConfig, file(dump_config(config))) == config


def test_numbers_survive_a_round_trip(file):
    config = load_config(
        TrainConfig, file(TRAIN), ["learning_rate=1e-05", "ema=0.999", "seed=9223372036854775807"]
    )
    assert load_config(TrainConfig, file(dump_config(config), "d.yaml")) == config


# Bases and overrides


def test_bases_chain_and_the_later_wins(file):
    Path("base").mkdir()
    file(TRAIN + "steps: 10\nbatch_size: 3\n", "base/root.yaml")
    file("base: root.yaml\nsteps: 20\nmodel: {encoder: {width: 9}}\n", "base/middle.yaml")
    config = load_config(TrainConfig, file("base: base/middle.yaml\nseed: 4\n"), ["steps=30"])
    assert (config.steps, config.batch_size, config.seed) == (30, 3, 4)
    assert config.model.encoder.model_dump() == {
        "name": "edsr-baseline", "blocks": 1, "width": 9, "residual_scale": 1.0,
    }  # fmt: skip


def test_a_section_of_another_kind_replaces_the_whole_section(file):
    file(TRAIN, "root.yaml")
    config = load_config(TrainConfig, file("base: root.yaml\nmodel: {encoder: {name: rdn}}\n"))
    assert config.model.encoder.model_dump()["name"] == "rdn"  # without the old one's `blocks`
    new = "train_data={sampling: pairs, lr: l, hr: h}"
    assert load_config(TrainConfig, file(TRAIN), [new]).train_data.lr == "l"


def test_null_takes_a_section_away(file):
    path = file(TRAIN + "valid: {images: x}\n")
    assert load_config(TrainConfig, path).valid is not None
    assert load_config(TrainConfig, path, ["valid=null"]).valid is None


def test_overrides_come_in_order(file):
    assert load_config(TrainConfig, file(TRAIN), ["steps=1", "steps=2"]).steps == 2
    patch = load_config(TrainConfig, file(TRAIN), ["train_data.patch=64", "train_data.queries=9"])
    assert (patch.train_data.patch, patch.train_data.queries) == (64, 9)


@pytest.mark.parametrize("base", ["c.yaml", "./c.yaml"])
def test_a_file_that_is_its_own_base(file, base):
    assert mistakes(TrainConfig, file(f"base: {base}\n")) == "c.yaml: is its own base"


def test_a_circle_of_bases(file):
    file("base: c.yaml\n", "d.yaml")
    assert "c.yaml: is its own base" in mistakes(TrainConfig, file("base: d.yaml\n"))


def test_one_base_twice_is_no_circle(file):
    file(TRAIN, "root.yaml")
    file("base: root.yaml\n", "middle.yaml")
    assert load_config(TrainConfig, file("base: middle.yaml\n")).steps == 1_000_000


def test_a_mistake_is_found_in_the_file_that_made_it(file):
    file(TRAIN + "steps: abc\n", "root.yaml")
    path = file("base: root.yaml\nbatch_size: 0\n")
    lines = mistakes(TrainConfig, path, "seed=-1").splitlines()
    assert sorted(lines) == [
        "--set seed: must be greater than or equal to 0, not -1",
        "c.yaml: batch_size: must be greater than 0, not 0",
        'root.yaml: steps: must be a whole number, not "abc"',
    ]


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
        (b"a: 1\nb: 2\na: 3\n", "key 'a' stands twice"),
        (b"b:\n  a: 1\n  a: 3\n", "line 2: key 'a' stands twice"),
        (b"1: a\n'1': b\n", "key '1' stands twice"),
        (b"a: &x 1\nb: *x\n", "aliases (*name) are not used here; see `base:`"),
        (b"a: &x [*x]\n", "aliases (*name) are not used here; see `base:`"),
        (b"a: !!bool x\n", "tags (!name) are not used here"),
        (b"a: !!python/object/apply:os.system [ls]\n", "tags (!name) are not used here"),
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
def test_files_that_are_no_configuration(file, content, said):
    message = mistakes(TestConfig, file(content))
    assert said in message
    assert "\n" not in message and len(message) < 400


def test_a_missing_file_and_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mistakes(TestConfig, Path("x.yaml")) == "x.yaml: no such configuration file"
    assert mistakes(TestConfig, Path()) == ".: cannot be read: Is a directory"


def test_a_file_from_windows(file):
    config = load_config(TestConfig, file("\ufeff" + TEST.replace("\n", "\r\n")))
    assert config.hr == "images"


# Keys and values that are wrong: (override, what the message says besides "--set KEY")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("step", "1", "unknown key; did you mean 'steps'? valid keys are accumulate, batch_size"),
        ("zzz", "1", "unknown key; valid keys are accumulate, batch_size"),
        ("model.encoder.nam", "rdn", "did you mean 'name'? valid keys are blocks, name, residual_"),
        ("model.decoder.hiden", "[1]", "did you mean 'hidden'? valid keys are cell_decode"),
        ("model.decoder.liif", "1", "unknown key"),
        ("model.encoder.name", "rdnn", "'rdnn'; did you mean 'rdn'? valid are edsr-baseline, rdn"),
        ("model.decoder.name", "xyz", "'xyz'; valid are liif, metasr, upsampler"),
        ("model.encoder.name", "null", "valid are edsr-baseline, rdn"),
        ("model.encoder", "rdn", 'must be keys and values, not "rdn"'),
        ("train_data.sampling", "pair", "did you mean 'pairs'? valid are pairs, random-scale, si"),
        ("train_data.random-scale", "1", "unknown key; valid keys are augment, cache"),
        ("train_data.sampling", "pairs", "train_data.lr: must be given"),
        ("train_data.cache", "disk", "must be 'none', 'memory', 'mmap' or 'device', not"),
        ("train_data.scale", "[4, 1]", "must be low <= high"),
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
        ("compile", "1", "must be true or false, not 1"),
        ("ema", "1", "must be less than 1, not 1"),
        ("precision", "fp16", "must be 'float32' or 'bf16', not \"fp16\""),
        ("milestones", "[0]", "milestones.0: must be greater than 0, not 0"),
        ("milestones", "3", "must be a list, not 3"),
        ("valid", "{}", "valid.images: must be given"),
        ("valid", "{images: 3}", "valid.images: must be text, not 3"),
        ("valid", "{images: x, scales: []}", "valid.scales: must have at least 1 item, not 0"),
        ("valid", "{images: x, scales: [0]}", "valid.scales.0: must be greater than or equal to 1"),
        ("init", "3", "must be text, not 3"),
        ("seed", "[1", "not valid YAML"),
        ("seed", "9223372036854775808", "must be less than 9223372036854775808"),
    ],
)
def test_wrong_keys_and_values(file, key, value, said):
    message = mistakes(TrainConfig, file(TRAIN), f"{key}={value}")
    assert message.startswith(f"--set {key}")
    assert said in message
    assert "pydantic" not in message and "Input" not in message and "JSON" not in message


@pytest.mark.parametrize("value", ["0", "-2", "0.5", "1001", ".inf", ".nan", "1" + "0" * 400])
def test_impossible_scales_are_said_once(file, value):
    message = mistakes(TestConfig, file(TEST), f"scale={value}")
    assert message.startswith("--set scale: must be from 1 to 1000, not ")


@pytest.mark.parametrize("value", ["abc", "'2'", "[2]", "[2, 3, 4]", "yes", "null", "{a: 1}"])
def test_scales_that_are_no_numbers(file, value):
    said = "must be a number such as 2 or 2.5, or two: [vertical, horizontal]"
    assert said in mistakes(TestConfig, file(TEST), f"scale={value}")
    assert "scale.1: must be greater than or equal to 1, not -3" in mistakes(
        TestConfig, file(TEST), "scale=[2, -3]"
    )


@pytest.mark.parametrize("override", ["steps", "=3", ""])
def test_overrides_that_are_none(file, override):
    assert f"--set {override}: must be KEY=VALUE" in mistakes(TrainConfig, file(TRAIN), override)


def test_every_mistake_is_listed_with_file_and_dotted_key(file):
    text = TRAIN.replace("width: 8", "width: x").replace("images: x", "imges: x") + "stepz: 1\n"
    lines = mistakes(TrainConfig, file(text)).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["c.yaml", "model.encoder.width"],
        ["c.yaml", "train_data.images"],
        ["c.yaml", "train_data.imges"],
        ["c.yaml", "stepz"],
    ]
    assert "did you mean 'images'?" in lines[2] and "did you mean 'steps'?" in lines[3]


# Whatever it is: a configuration or a UserError

SECTIONS = ["model", "encoder", "decoder", "name", "train_data", "sampling", "valid", "liif", "a.b"]
FIELDS = ["blocks", "width", "hidden", "images", "lr", "hr", "size", "patch", "scale", "scales"]
OTHERS = ["queries", "cache", "crop", "steps", "seed", "milestones", "set", "protocol", "base", ""]
KEYS = st.sampled_from([*SECTIONS, *FIELDS, *OTHERS])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 5)
    | st.just(10**400)
    | st.floats()
    | st.sampled_from(["rdn", "edsr-baseline", "liif", "metasr", "upsampler", "pairs", "none"])
    | st.sampled_from(["random-scale", "size-varied", "benchmark", "c.yaml", "1e5"])
    | st.text(max_size=6)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS | st.text(max_size=3) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
QUICK = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def accepted(kind, path, overrides=()):
    """Whether it is a configuration, which must then survive a round trip."""
    try:
        config = load_config(kind, path, overrides)
    except UserError:
        return False
    copy = path.with_name("copy.yaml")
    copy.write_text(dump_config(config), encoding="utf-8")
    assert load_config(kind, copy) == config
    return True


@QUICK
@given(
    data=st.dictionaries(KEYS, VALUES, max_size=6), kind=st.sampled_from([TrainConfig, TestConfig])
)
def test_any_data_loads_or_is_explained(tmp_path, data, kind):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8", errors="replace")
    accepted(kind, path)


@QUICK
@given(data=st.dictionaries(KEYS, VALUES, min_size=1, max_size=2))
def test_any_change_of_a_good_configuration_loads_or_is_explained(tmp_path, data):
    path, root = tmp_path / "c.yaml", tmp_path / "root.yaml"
    root.write_text(TRAIN)
    data = {**data, "base": "root.yaml"}
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8", errors="replace")
    accepted(TrainConfig, path)


@QUICK
@given(content=st.binary(max_size=60) | st.text("ab01:-[]{}&*!?|>'\"#%@,.~=<\n \t\\", max_size=40))
def test_any_bytes_load_or_are_explained(tmp_path, content):
    path = tmp_path / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert not accepted(TestConfig, path)


@QUICK
@given(key=st.lists(KEYS, min_size=1, max_size=3), value=st.text(max_size=10) | SCALARS.map(str))
def test_any_override_loads_or_is_explained(tmp_path, key, value):
    path = tmp_path / "c.yaml"
    path.write_text(TRAIN)
    accepted(TrainConfig, path, [".".join(key) + "=" + value])


def test_the_property_tests_reach_valid_configurations(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(TRAIN)
    assert accepted(TrainConfig, path, ["model.encoder.width=5"])
    assert re.search(r"width: 5", (tmp_path / "copy.yaml").read_text())
