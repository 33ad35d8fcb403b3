"""Fixtures that several test files use: small models, photographs, configurations, a server."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.configs import TABLE, config_file
from helpers.faulty_server import faulty_server
from helpers.models import TINY
from helpers.paths import ROOT, SHARED
from helpers.pictures import save_noise, texture
from helpers.pretend import IS_PRETEND
from helpers.processes import end_with_this_run

from liif.cli import main
from liif.data import mapped
from liif.hub.catalog import find_model
from liif.images.rgb8 import read_image, write_image
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import save_checkpoint

if IS_PRETEND:
    from helpers import pretend_cuda

    pretend_cuda.start()
end_with_this_run()

# A shell without job control starts what it sends to the background deaf to Ctrl-C, and so would be
# the processes that are interrupted here.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Small models are faster on one thread, and many times so on a busy machine.
torch.set_num_threads(1)


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a GPU; tests/cuda/test_pretend.py runs it on a pretend one")


@pytest.fixture(scope="session")
def official_weights() -> Path:
    """The published weights of EDSR-baseline-LIIF."""
    for path in (SHARED / "weights" / "edsr-baseline-liif.pth", find_model("edsr-liif").path):
        if path.is_file():
            return path
    pytest.skip("needs the official weights: liif models download edsr-liif (or set LIIF_SHARED)")


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """The data root with Set5, Set14 and B100 in its folder benchmark."""
    for root in (SHARED / "data", Path(os.environ.get("LIIF_DATA", ROOT / "datasets"))):
        if all((root / "benchmark" / name).is_dir() for name in ("Set5", "Set14", "B100")):
            return root
    pytest.skip("needs Set5, Set14 and B100: liif data download benchmark (or set LIIF_SHARED)")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder, where the test then is, and no data elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIIF_DATA", raising=False)
    return tmp_path


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder of three small pictures: a.png 60×40, b.png 50×44, c.png 48×48."""
    folder = tmp_path / "photos"
    for seed, (name, height, width) in enumerate([("a", 40, 60), ("b", 44, 50), ("c", 48, 48)]):
        write_image(folder / f"{name}.png", texture(height, width, seed))
    return folder


@pytest.fixture(scope="session")
def learnable(tmp_path_factory) -> Path:
    """A folder of six small pictures with something to learn in them."""
    folder = tmp_path_factory.mktemp("photos")
    y, x = np.mgrid[0:64, 0:80]
    for i in range(6):
        waves = [np.sin(x / (2 + i + c)) * np.cos(y / (3 + c)) for c in range(3)]
        write_image(folder / f"{i}.png", (np.stack(waves, -1) * 100 + 128).astype(np.uint8))
    return folder


@pytest.fixture
def noise_folder(tmp_path) -> Path:
    """Three images of different sizes, as pictures.EXPECTED; the i-th has seed i."""
    root = tmp_path / "photos"
    save_noise(root / "a.png", 6, 8, 0)
    save_noise(root / "b.png", 9, 5, 1)
    save_noise(root / "sub" / "c.png", 4, 4, 2)
    return root


@pytest.fixture
def cache_dir(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LIIF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Names of the files decoded for a cache so far."""
    names = []

    def read(path, form):
        names.append(path.name)
        return read_image(path)

    monkeypatch.setattr(mapped, "read_pixels", read)
    return names


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
    """Runs a command line that must end in one error: status 2, and the help to see, if it could
    not have worked anywhere, else 1; gives the message."""

    def run(*arguments):
        status, _, err = cli(*arguments)
        assert err.startswith("error: ") or "\nerror: " in err
        assert status == (2 if "\nsee liif" in err and err.endswith("--help\n") else 1)
        return err[err.index("error: ") :]

    return run


@pytest.fixture
def yaml_file(folder):
    """Writes a configuration and gives its relative name, as a user would type it."""

    def write(text, name="c.yaml"):
        path = Path(name)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def scoring(photos, tiny_checkpoint, folder) -> Path:
    """A configuration for `liif test`, of `photos`, at x2."""
    return config_file(
        "t.yaml",
        data_root=str(folder), set="mine", hr="photos", scale=2, protocol="benchmark",
        checkpoint=str(tiny_checkpoint),
    )  # fmt: skip


@pytest.fixture
def training(photos, folder) -> Path:
    """A configuration for `liif train`, of `photos`, of two steps."""
    data = {"sampling": "random-scale", "images": "photos", "cache": "none", "patch": 8}
    return config_file(
        "r.yaml",
        data_root=str(folder), model=TINY, train_data={**data, "queries": 16},
        steps=2, batch_size=2, workers=0,
    )  # fmt: skip


@pytest.fixture
def table(folder, photos, tiny_checkpoint) -> Path:
    """A folder with TABLE, of two sets, whose rows `any` and `fixed-x2` have configurations."""
    faces = folder / "faces"
    write_image(faces / "f.png", texture(24, 24))
    files = {
        "configs/tables/t.yaml": TABLE,
        "configs/mine.yaml": f"set: mine\nhr: {photos}\nprotocol: benchmark\n",
        "configs/faces.yaml": f"set: faces\nhr: {faces}\nprotocol: none\n",
        "configs/any.yaml": "",
        "configs/fixed-x2.yaml": "",
    }
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    Path("runs/any").mkdir(parents=True)
    Path("runs/any/last.pt").write_bytes(tiny_checkpoint.read_bytes())
    return folder


@pytest.fixture
def server(monkeypatch):
    """A server of downloads that can be told to fail: see faulty_server.Handler."""
    monkeypatch.setenv("no_proxy", "*")
    with faulty_server() as server:
        yield server
