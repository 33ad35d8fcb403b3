"""Any bytes as a configuration, any text after --set: a configuration, or a clean UserError."""

import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fuzz.cases import confine, damaged, many, within_limits
from liif.core.config_file import dump_config, load_config
from liif.core.errors import UserError
from liif.evaluation.config import TestConfig
from liif.evaluation.table_config import TableConfig
from liif.training.config import TrainConfig

pytestmark = pytest.mark.timeout(0)  # cases have their own

ROOT = Path(__file__).parents[2]
SEEDS = [path.read_bytes() for path in sorted(ROOT.glob("configs/**/*.yaml"))]
KINDS = st.sampled_from([TrainConfig, TestConfig, TableConfig])
TRAIN = """\
model:
  encoder: {name: edsr-baseline, blocks: 1, width: 8}
  decoder: {name: liif, hidden: [16]}
train_data: {sampling: random-scale, images: x}
"""


def fields(section):
    """Every key that a configuration can have, whatever section it stands in."""
    if isinstance(section, dict):
        for key, value in section.items():
            if key == "properties":
                yield from value
            yield from fields(value)
    elif isinstance(section, list):
        for value in section:
            yield from fields(value)


def choices(section):
    """Every name that a value can be chosen by: of encoders, decoders, precisions and others."""
    if isinstance(section, dict):
        names = [section.get("const"), *section.get("enum", ())]
        yield from (name for name in names if isinstance(name, str))
    parts = section.values() if isinstance(section, dict) else section
    for part in parts if isinstance(section, dict | list) else ():
        yield from choices(part)


SCHEMAS = [kind.model_json_schema() for kind in (TrainConfig, TestConfig, TableConfig)]
KEYS = st.sampled_from([*sorted(set(fields(SCHEMAS))), "base", "", "0", "<<"])
WORDS = [*sorted(set(choices(SCHEMAS))), "c.yaml", "root.yaml", "1e5", "~"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 5)
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS | st.text(max_size=3) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
PIECES = ["a", "steps", "model", ":", ": ", "- ", "\n", "\n  ", "\n    ", "[", "]", "{", "}", ","]
PIECES += ["&x ", "*x", "!!int ", "!x ", "|", ">", "|2-\n", "'", '"', "#", "%YAML 1.1\n", "---\n"]
PIECES += ["...", "? ", "<<: ", "\t", "1", "-1", "0x1f", "1_0", ".nan", "1:30", "2020-01-01", "="]
PIECES += ["é", "\\u0000", "\\ud800", "\ufeff", "\x85", "\u2028", "@", "`", "\\", "base: c.yaml\n"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    confine(tmp_path, monkeypatch)
    shutil.copytree(ROOT / "configs", tmp_path, dirs_exist_ok=True)  # the bases of the seeds
    (tmp_path / "root.yaml").write_text(TRAIN)
    return tmp_path


def check(folder, kind, content, overrides=()):
    """Whether it is a configuration, which must then survive a round trip."""
    path, copy = folder / "c.yaml", folder / "copy.yaml"
    path.write_bytes(content)
    copy.touch()
    with within_limits(folder):
        config, message = loaded(kind, path, overrides)
        if config is not None:
            copy.write_text(dump_config(config), encoding="utf-8")
            assert load_config(kind, copy) == config
    assert message is None or (message.strip() and len(message) < 20_000)
    assert not any(word in str(message) for word in ("pydantic", "Traceback", "object at"))
    return config is not None


def loaded(kind, path, overrides):
    try:
        return load_config(kind, path, overrides), None
    except UserError as error:
        return None, str(error)


@many
@given(content=damaged(SEEDS), kind=KINDS)
def test_damaged_files(folder, content, kind):
    check(folder, kind, content)


@many
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=30) | st.binary(max_size=60), kind=KINDS)
def test_random_text(folder, pieces, kind):
    check(folder, kind, pieces if isinstance(pieces, bytes) else "".join(pieces).encode())


@many
@given(data=st.dictionaries(KEYS, VALUES, max_size=6), has_base=st.booleans(), kind=KINDS)
def test_random_values(folder, data, has_base, kind):
    if has_base:
        data = {**data, "base": "root.yaml"}
    text = yaml.safe_dump(data, allow_unicode=True)
    check(folder, kind, text.encode("utf-8", "replace"))


KEY = st.lists(KEYS, min_size=1, max_size=3).map(".".join)
SETTING = st.tuples(KEY, VALUES.map(repr) | st.text(max_size=10)).map("=".join)


@many
@given(overrides=st.lists(SETTING | st.text(max_size=5), max_size=3))
def test_random_overrides(folder, overrides):
    check(folder, TrainConfig, TRAIN.encode(), overrides)


def test_the_cases_reach_valid_configurations(folder):
    assert check(folder, TrainConfig, b"base: root.yaml\n", ["model.encoder.width=5"])
    for path in sorted(ROOT.glob("configs/*.yaml")):
        kind = TestConfig if path.name.startswith("test-") else TrainConfig
        assert check(folder, kind, path.read_bytes())
