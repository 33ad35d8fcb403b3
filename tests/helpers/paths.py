"""Where files are that tests read."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
"""The folder of the project."""

GOLDEN = ROOT / "tests" / "golden"
"""Outputs of the official code, and what version 0.1 wrote."""

SHARED = Path(os.environ.get("LIIF_SHARED", ROOT.parent / "shared"))
"""Files that are too large for the repository: the official weights, the benchmark sets."""


def golden_file(name):
    """Return the path of a reference file; skip the test where it is too large to be kept here."""
    path = GOLDEN / name
    if not path.exists():
        path = SHARED / "golden" / name
    if not path.exists():
        pytest.skip(f"{name} is too large for the repository; set LIIF_SHARED to a folder with it")
    return path
