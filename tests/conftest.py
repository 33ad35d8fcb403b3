"""Shared fixtures: where the development data is, small models, small photographs."""

import os
from pathlib import Path

import pytest
import torch

# Small models are faster on one thread, and many times so on a busy machine.
torch.set_num_threads(1)

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden outputs, benchmark images and the official weights."""
    path = Path(os.environ.get("LIIF_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"needs the development data, which is not at {path} (set LIIF_SHARED)")
    return path
