"""The example of docs/own-loss.md works as printed, and no list of tests changes for it."""

import os
import re
import shutil
import subprocess
import sys
import types

import pytest
import torch
from helpers.losses import patches
from helpers.models import TINY
from helpers.paths import ROOT
from pydantic import TypeAdapter, ValidationError

from liif.models.build import ModelConfig, build_model
from liif.training.losses.terms import LossTerms
from liif.training.step import train_step

PAGE = (ROOT / "docs" / "own-loss.md").read_text()
CODE, LINE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[:2]
NAME, CONFIG = re.fullmatch(r'"(\w+)": (\w+),\n', LINE).groups()


def build_file():
    """liif/training/losses/build.py with the page's line and its import."""
    text = (ROOT / "liif" / "training" / "losses" / "build.py").read_text()
    assert text.count("LOSSES = {\n") == 1
    head, tail = text.replace("LOSSES = {\n", f"LOSSES = {{\n    {LINE}").split("\nfrom ", 1)
    return f"{head}\nfrom liif.training.losses.{NAME} import {CONFIG}\nfrom {tail}"


@pytest.fixture
def loss_list(monkeypatch):
    """Reads the section `loss` of a configuration, with the example among the losses."""
    for name, code in ((NAME, CODE), ("build_with_example", build_file())):
        path = f"liif.training.losses.{name}"
        module = types.ModuleType(path)
        monkeypatch.setitem(sys.modules, path, module)
        exec(compile(code, path, "exec"), vars(module))
    return TypeAdapter(module.LossList).validate_python


def test_the_example_trains(loss_list):
    assert all(len(row) <= 100 for row in CODE.splitlines())
    configs = loss_list([{"name": "l1"}, {"name": NAME, "side": 4, "weight": 0.5}])
    model = build_model(ModelConfig.model_validate(TINY))
    losses = LossTerms(configs, std=model.std)
    assert losses.names == ["l1", NAME] and configs[1].smallest_patch == 4
    _, _, batch = patches(12)
    optimizer = torch.optim.Adam(model.parameters())
    values = [
        train_step(model, optimizer, batch, learning_rate=1e-3, losses=losses).terms[NAME]
        for _ in range(20)
    ]
    assert values[-1] < values[0]


def test_its_value(loss_list):
    rgb, target, batch = patches(8)
    (config,) = loss_list([{"name": NAME, "side": 8}])
    means = [colours.double().mean(dim=1) for colours in (rgb, target)]
    found = config.build(3, torch.tensor(0.5))(rgb, target, batch).item()
    assert found == pytest.approx((means[0] - means[1]).abs().mean().item(), rel=1e-5)


def test_its_mistakes_are_found(loss_list):
    with pytest.raises(ValidationError, match="side"):
        loss_list([{"name": NAME, "side": 0}])


@pytest.mark.slow
def test_the_tests_of_losses_accept_it(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__", "photos", "page")
    shutil.copytree(ROOT / "liif", tmp_path / "liif", ignore=ignored)
    (tmp_path / "liif" / "training" / "losses" / f"{NAME}.py").write_text(CODE)
    (tmp_path / "liif" / "training" / "losses" / "build.py").write_text(build_file())
    tests = [ROOT / "tests" / "training" / f"test_{part}.py" for part in ("losses", "loss_terms")]
    # Started in the copy's folder, which comes first on the path of `python -m`.
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", NAME]
    done = subprocess.run(
        [*command, "-c", ROOT / "pyproject.toml", "--rootdir", ROOT, *tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 7
