"""A new encoder or decoder is one file and one line: no list of tests changes."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from helpers.paths import ROOT

PARTS = {"decoder": ("planes", "modulated", "matched"), "encoder": ("slim", "windowed")}
"""The examples of docs/own-decoder.md and docs/own-encoder.md."""


def add_part(package, kind, name):
    """Add a documented example to a copy of the package, as its page says."""
    page = (ROOT / "docs" / f"own-{kind}.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (at,) = (i for i, block in enumerate(blocks) if block.startswith(f'"{name}": '))
    file, line = blocks[at - 1 : at + 1]
    config = line.split()[1].rstrip(",")
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
def test_the_model_tests_accept_new_parts(kind, tmp_path):
    ignored = shutil.ignore_patterns("__pycache__", "photos", "page")
    shutil.copytree(ROOT / "liif", tmp_path / "liif", ignore=ignored)
    for name in PARTS[kind]:
        add_part(tmp_path / "liif", kind, name)
    tests = ROOT / "tests" / "models" / "test_models.py"
    # Started in the copy's folder, which comes first on the path of `python -m`.
    chosen = " or ".join(PARTS[kind])
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", chosen]
    done = subprocess.run(
        [*command, "-c", ROOT / "pyproject.toml", "--rootdir", ROOT, tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 10
