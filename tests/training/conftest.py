"""What the tests of training in several processes share."""

import pytest
from helpers.ranks import CONFIG


@pytest.fixture
def project(tmp_path, photos, monkeypatch):
    """A folder with photographs and a configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path
