"""Shared fixtures: where the development data is, small models, small photographs."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from liif.checkpoint import save_checkpoint
from liif.cli import main
from liif.data.images import write_image
from liif.models.build import ModelConfig, build_model

# A shell without job control starts what it sends to the background deaf to Ctrl-C, and so would be
# the processes that are interrupted here.
signal.signal(signal.SIGINT, signal.default_int_handler)

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


def texture(height, width, seed=0):
    """A textured colour picture, uint8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    waves = [
        np.sin(x / 3 + seed) + np.cos(y / 5),
        np.sin((x + 2 * y + seed) / 4),
        np.cos(x * y / 99),
    ]
    return ((np.stack(waves, axis=-1) + 2) / 4 * 255).astype(np.uint8)


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder of three small pictures: a.png 60×40, b.png 50×44, c.png 48×48."""
    folder = tmp_path / "photos"
    for seed, (name, height, width) in enumerate([("a", 40, 60), ("b", 44, 50), ("c", 48, 48)]):
        write_image(folder / f"{name}.png", texture(height, width, seed))
    return folder


TINY = {
    "encoder": {"name": "edsr-baseline", "blocks": 1, "width": 8},
    "decoder": {"name": "liif", "hidden": [16]},
}


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    """Weights of a very small model, in our own format."""
    config = ModelConfig.model_validate(TINY)
    path = tmp_path_factory.mktemp("tiny") / "tiny.pt"
    save_checkpoint(path, config, build_model(config).state_dict())
    return path


@pytest.fixture
def cli(capsys):
    """Runs a command line in this process: (status, standard output, standard error)."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return status, out, err

    return run


@pytest.fixture
def refused(cli):
    """Runs a command line that must end in status 1 and one error; gives the message."""

    def run(*arguments):
        status, _, err = cli(*arguments)
        assert status == 1
        assert err.startswith("error: ") or "\nerror: " in err
        return err[err.index("error: ") :]

    return run
