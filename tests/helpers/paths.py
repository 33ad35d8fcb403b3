"""Where files are that tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The folder of the project."""

GOLDEN = ROOT / "tests" / "golden"
"""Outputs of the official code, and what version 0.1 wrote."""
