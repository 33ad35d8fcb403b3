"""Configuration files, and the messages about wrong ones."""

from pathlib import Path

import pytest
import yaml

from liif.core.config_file import load_config
from liif.core.errors import UserError

TEST = "set: s\nhr: images\nscale: 2\nprotocol: benchmark\n"
TRAIN = """\
model:
  encoder: {name: edsr-baseline, blocks: 1, width: 8}
  decoder: {name: liif, hidden: [16]}
train_data: {sampling: random-scale, images: x}
"""


def mistakes(kind, path, *overrides):
    with pytest.raises(UserError) as caught:
        load_config(kind, path, overrides)
    return str(caught.value)


def config_file(name, **values):
    """A configuration in the folder of the test."""
    Path(name).write_text(yaml.safe_dump(values))
    return Path(name)


TABLE = """\
title: Ours & theirs
source: Somebody 2020
sets: {mine: {config: ../mine.yaml}, faces: {config: ../faces.yaml, scales: [2]}}
scales: [2, 3]
rows:
  - {name: Bicubic, published: {mine: [20.5, null]}}
  - {name: Any scale, config: any, trained: [1, 2], published: {mine: [30, 29.25]}}
  - {name: Fixed, config: "fixed-x{scale}", source: Another 2021}
  - {name: Then Lanczos, config: any, lanczos_from: 2}
"""
