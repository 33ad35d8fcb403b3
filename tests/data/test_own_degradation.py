"""The example of docs/own-degradation.md, as printed: it trains, and generic tests accept it."""

import os
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
import yaml
from helpers.models import TINY
from helpers.paths import ROOT
from helpers.pictures import texture
from helpers.samples import random_scale
from PIL import Image

from liif.data.loader import batches
from liif.models.build import ModelConfig, build_model
from liif.training.config import TrainConfig
from liif.training.step import train_step

PAGE = (ROOT / "docs" / "own-degradation.md").read_text()
FILE, LINE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def example():
    module = types.ModuleType("defocus")
    exec(compile(FILE, "defocus.py", "exec"), vars(module))
    return module.DefocusConfig


def test_the_example_is_out_of_focus():
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    blurred = example()(radius=(3, 3)).apply(point, (41, 41), np.random.default_rng())
    inside = blurred[20, 17:24, 0]
    assert (inside == round(255 / (np.pi * 3.0**2))).sum() >= 5  # about the area of the disc
    assert blurred[20, 14].max() == 0 and abs(int(blurred[..., 0].sum()) - 255) < 25
    same = example()(radius=(0, 0)).apply(texture(30, 30), (11, 11), np.random.default_rng())
    small = Image.fromarray(texture(30, 30)).resize((11, 11), Image.Resampling.BICUBIC)
    assert np.array_equal(same, small)


def test_it_trains():
    source = random_scale(texture(60, 50), texture(50, 60, 1), queries=64)
    config = source.config.model_copy(update={"degrade": example()()})
    source = type(source)(config, source.store)
    model = build_model(ModelConfig.model_validate(TINY))
    optimizer = torch.optim.Adam(model.parameters())
    losses = []
    for batch in batches(source, seed=0, batch_size=4, start=0, stop=40):
        loss, *_ = train_step(model, optimizer, batch.to(model.mean.device), learning_rate=3e-3)
        losses.append(loss)
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


@pytest.mark.slow
def test_the_generic_tests_accept_it(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__", "photos", "page")
    shutil.copytree(ROOT / "liif", tmp_path / "liif", ignore=ignored)
    folder = tmp_path / "liif" / "data" / "degradations"
    (folder / "defocus.py").write_text(FILE)
    build, start = folder / "build.py", "DEGRADATIONS = {\n"
    text = build.read_text()
    assert LINE == '"defocus": DefocusConfig,\n' and text.count(start) == 1
    head, tail = text.replace(start, start + "    " + LINE).split("\nfrom liif", 1)
    added = "\nfrom liif.data.degradations.defocus import DefocusConfig\nfrom liif"
    build.write_text(head + added + tail)
    # Started in the copy's folder, which comes first on the path of `python -m`.
    tests = ROOT / "tests" / "data" / "test_degradations.py"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "defocus", tests]
    done = subprocess.run(
        [*command, "-c", ROOT / "pyproject.toml", "--rootdir", ROOT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 20


def test_the_pipeline_of_the_page_is_one():
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (data,) = (yaml.safe_load(block)["train_data"] for block in blocks if "stages" in block)
    config = TrainConfig.model_validate(
        {"model": TINY, "train_data": {"sampling": "random-scale", "images": "x", **data}}
    )
    degradation = config.train_data.degrade
    small, notes = degradation.trace(texture(40, 40), (17, 13), np.random.default_rng())
    assert small.shape == (17, 13, 3) and len(notes) in (5, 6)
