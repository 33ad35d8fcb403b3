"""Any input is a configuration that survives a round trip, or leads to a UserError."""

import re

import yaml
from helpers.configs import TRAIN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liif.core.config_file import dump_config, load_config
from liif.core.errors import UserError
from liif.evaluation.config import TestConfig
from liif.models.build import DECODERS, ENCODERS
from liif.training.config import TrainConfig

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
    | st.sampled_from([*ENCODERS, *DECODERS, "pairs", "random-scale", "size-varied"])
    | st.sampled_from(["none", "benchmark", "c.yaml", "1e5"])
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
    """Return whether the file is a configuration; one that is must survive a round trip."""
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
