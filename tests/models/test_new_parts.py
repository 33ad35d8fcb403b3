"""A new encoder or decoder is one file and one line: no list of tests changes."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from helpers.paths import ROOT

PARTS = {"decoder": ("planes", "PlanesConfig"), "encoder": ("slim", "SlimConfig")}
"""The examples of docs/own-decoder.md and docs/own-encoder.md."""


def add_part(package, kind):
    """Add the documented example to a copy of the package, as its page says."""
    name, config = PARTS[kind]
    page = (ROOT / "docs" / f"own-{kind}.md").read_text()
    file, line = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[:2]
    assert line == f'"{name}": {config},\n'
    (package / "models" / f"{kind}s" / f"{name}.py").write_text(file)
    build = package / "models" / "build.py"
    text = build.read_text()
    start = f"{kind.upper()}S = {{"
    assert text.count(start) == 1
    text = text.replace(start, start + line)
    head, tail = text.split("\nfrom ", 1)
    build.write_text(f"{head}\nfrom liif.models.{kind}s.{name} import {config}\nfrom {tail}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", PARTS)
def test_the_model_tests_accept_a_new_part(kind, tmp_path):
    ignored = shutil.ignore_patterns("__pycache__", "photos", "page")
    shutil.copytree(ROOT / "liif", tmp_path / "liif", ignore=ignored)
    add_part(tmp_path / "liif", kind)
    name, _ = PARTS[kind]
    tests = ROOT / "tests" / "models" / "test_models.py"
    # Started in the copy's folder, which comes first on the path of `python -m`.
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", name]
    done = subprocess.run(
        [*command, "-c", ROOT / "pyproject.toml", "--rootdir", ROOT, tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 10
