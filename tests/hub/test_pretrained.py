"""Models by name: which file is meant, and fetching them from servers that fail."""

import hashlib
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.models import TINY
from helpers.paths import ROOT

import liif
from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.hub import catalog, pretrained
from liif.hub.catalog import MODELS, find_model, model_names, models_folder
from liif.hub.pretrained import fetch_model, resolve_checkpoint
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import save_weights
from liif.training.config import TrainConfig

CONFIG = ModelConfig.model_validate(TINY)
KNOWN = catalog.Pretrained(
    name="tiny", title="", config=TINY, file="tiny.safetensors", licence="", data="", by_hand="ask"
)


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> bytes:
    """A safetensors file of a tiny model."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, CONFIG, build_model(CONFIG).state_dict())
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where models go that are fetched."""
    monkeypatch.setenv("LIIF_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(pretrained, "PAUSES", (0, 0))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


@pytest.fixture
def offer(server, folder, weights, monkeypatch):
    """Makes "tiny" a model that the server has, or something else by that name."""

    def offer(data=weights, **known):
        server.files["/tiny"] = data
        known = {"size": len(weights), "checksum": sha256(weights), **known}
        model = replace(KNOWN, urls=(f"{server.at}/tiny",), **known)
        monkeypatch.setattr(catalog, "MODELS", (model,))
        return server

    return offer


def refusal(name, url=None):
    with pytest.raises(UserError) as caught:
        fetch_model(name, url)
    return str(caught.value)


# The table


def test_names_are_clear():
    names = [name for model in MODELS for name in (model.name, *model.aliases)]
    assert len(set(names)) == len(names)
    assert all(find_model(name) and find_model(name.upper().replace("-", "_")) for name in names)
    assert find_model("edsr") is None and find_model("") is None
    assert find_model(pretrained.DEFAULT).is_shipped


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_what_is_fetched_can_be_checked(model):
    assert all(url.startswith("https://") for url in model.urls)
    assert model.is_shipped or model.by_hand
    if model.urls:
        assert model.size and len(model.checksum.removeprefix("sha256:")) == 64
    trained_by = load_config(TrainConfig, ROOT / "configs" / f"{model.name}.yaml")
    assert model.model == trained_by.model


def test_the_recorded_checksum_is_that_of_the_authors_file(official_weights, folder):
    content = official_weights.read_bytes()
    official = find_model("edsr-liif")
    assert (official.size, official.checksum) == (len(content), sha256(content))
    folder.mkdir()
    (folder / official.file).write_bytes(content)
    assert fetch_model("edsr-liif") == folder / official.file
    assert liif.load("edsr-baseline-liif").encoder.width == 64


def test_the_package_brings_its_model_or_says_that_it_is_missing(monkeypatch, tmp_path):
    path = find_model(pretrained.DEFAULT).path
    assert path.is_relative_to(Path(liif.__file__).parent)
    if path.is_file():
        assert resolve_checkpoint(None) == resolve_checkpoint(pretrained.DEFAULT) == path
        assert (
            liif.models.checkpoint.read_checkpoint(path).model
            == find_model(pretrained.DEFAULT).model
        )
    monkeypatch.setattr(catalog, "SHIPPED", tmp_path)
    with pytest.raises(UserError, match="this file of the package is missing"):
        resolve_checkpoint(None)


def test_where_fetched_models_go(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LIIF_MODELS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert models_folder() == tmp_path / ".local/share/liif/models"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert models_folder() == Path("/data/liif/models")
    monkeypatch.setenv("LIIF_MODELS", "~/mine")
    assert models_folder() == tmp_path / "mine"


# Which file is meant


def test_a_file_is_itself_even_if_it_is_called_like_a_model(offer, weights, tmp_path):
    server = offer()
    for name in ("tiny", "other.safetensors"):
        (tmp_path / name).write_bytes(weights)
        assert resolve_checkpoint(name) == Path(name)
        assert resolve_checkpoint(tmp_path / name) == tmp_path / name
    assert server.requests == []


@pytest.mark.parametrize("name", ["no.pt", "folder/edsr-light.pt", "~nobody/x", "models/x"])
def test_what_looks_like_a_path_is_told_as_one(name, folder):
    folder.mkdir()
    with pytest.raises(UserError) as caught:
        resolve_checkpoint(name)
    assert str(caught.value).endswith(": no such checkpoint file")


def test_a_folder_is_its_model_or_told_as_one(folder, weights):
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "last.pt").write_bytes(weights)
    with pytest.raises(UserError, match=r"is a folder; name a checkpoint in it: last\.pt$"):
        liif.load(folder / "models")
    (folder / "models" / "model.safetensors").write_bytes(weights)
    assert resolve_checkpoint(folder / "models") == folder / "models" / "model.safetensors"


def test_names_of_the_hub(folder, weights, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub", reason='needs pip install "liif[hub]"')
    asked = []

    def download(repository, name, revision):
        asked.append((repository, name, revision))
        if repository != "user/name":
            raise hub.errors.RepositoryNotFoundError("404\nno such one", response=Response())
        (tmp_path / name).write_bytes(weights)
        return str(tmp_path / name)

    class Response:
        headers, request = {}, None

    monkeypatch.setattr(hub, "hf_hub_download", download)
    assert liif.load("user/name").encoder.width == liif.load(tmp_path / asked[0][1]).encoder.width
    resolve_checkpoint("user/name@v1.0")
    assert asked == [("user/name", "model.safetensors", each) for each in (None, "v1.0")]
    with pytest.raises(UserError, match=r"no such checkpoint file, and no model\.safetensors from"):
        resolve_checkpoint("user/other")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r'pip install "liif\[hub\]"'):
        resolve_checkpoint("user/name")


def test_list_models():
    assert liif.list_models() == ["lite", "lite-photo", "edsr-light", "edsr-liif", "rdn-liif"]


def test_an_unknown_name_is_told_with_those_that_there_are(folder):
    with pytest.raises(UserError, match=rf"edsr: no such .* {model_names()}"):
        liif.load("edsr")


# Fetching


def test_first_use_fetches_and_later_use_needs_no_network(offer, folder, weights):
    server = offer()
    model = liif.load("tiny")
    assert not model.training
    for key, value in build_model(CONFIG).state_dict().items():
        assert torch.equal(model.state_dict()[key], value)
    assert [path for path, *_ in server.requests] == ["/tiny"]
    server.files.clear()
    assert resolve_checkpoint("TINY").read_bytes() == weights
    assert len(server.requests) == 1
    assert [file.name for file in folder.iterdir()] == ["tiny.safetensors"]


def test_an_interrupted_download_is_continued(offer, folder, weights):
    server = offer()
    server.etags["/tiny"] = '"1"'
    server.faults["/tiny"] = ["break"]
    assert fetch_model("tiny").read_bytes() == weights
    assert server.requests[1][1] == f"bytes={len(weights) // 2}-"
    assert [file.name for file in folder.iterdir()] == ["tiny.safetensors"]


def flipped(data):
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("change", "fault", "reason"),
    [
        (flipped, "", "its sha256 is"),
        (lambda data: data[:-100], "", "bytes, expected"),
        (lambda data: data + b"x", "", "bytes, expected"),
        (lambda data: b"<html>", "", "holds 6 bytes"),
        (lambda data: None, "", "HTTP 404"),
        (bytes, "403", "HTTP 403"),
        (bytes, "to ftp://127.0.0.1/tiny", "is not allowed"),
    ],
)
def test_nothing_is_kept_of_what_is_not_the_file(offer, folder, weights, change, fault, reason):
    server = offer()
    server.files["/tiny"] = change(weights)
    server.faults["/tiny"] = [fault] * 3
    message = refusal("tiny")
    assert reason in message
    assert f"ask\ndownload it with a browser to {folder / 'tiny.safetensors'}" in message
    assert list(folder.iterdir()) == []


def test_offline_it_is_said_how_to_get_it_by_hand(offer, folder):
    offer()
    message = refusal("tiny", "http://127.0.0.1:9/tiny")
    assert "liif models download tiny --url URL" in message
    assert list(folder.iterdir()) == []


class Attack:
    def __reduce__(self):
        return (Path.touch, (Path("attacked"),))


def pickled(weights):
    return pickle.dumps({"model": Attack()})


def of_another_model(weights):
    config = ModelConfig.model_validate({**TINY, "decoder": {"name": "liif", "hidden": [17]}})
    save_weights(Path("other.safetensors"), config, build_model(config).state_dict())
    return Path("other.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("make", "file", "reason"),
    [
        (pickled, "tiny.pth", "refused: it holds more than tensors"),
        (pickled, "tiny.safetensors", "damaged, or not a safetensors file"),
        (of_another_model, "tiny.safetensors", "not the model tiny"),
        (lambda data: data[:-9], "tiny.safetensors", "damaged, or not a safetensors file"),
    ],
)
def test_a_file_without_checksum_is_read_before_it_is_kept(
    offer, folder, weights, make, file, reason
):
    """As of a model of which no checksum is known, from --url."""
    server = offer(make(weights), size=None, checksum=None, file=file)
    message = refusal("tiny", f"{server.at}/tiny")
    assert reason in message and message.endswith("the file was deleted")
    assert list(folder.iterdir()) == []
    assert not Path("attacked").exists()


def test_a_damaged_file_in_the_folder_is_told_and_left(offer, folder, weights):
    server = offer()
    folder.mkdir()
    (folder / "tiny.safetensors").write_bytes(flipped(weights))
    assert "exists already, but its sha256 is" in refusal("tiny")
    assert (folder / "tiny.safetensors").read_bytes() == flipped(weights)
    assert server.requests == []


def test_without_a_checksum_nothing_is_fetched_unasked(folder):
    message = refusal("rdn-liif")
    assert "no verified checksum" in message
    assert f"download it with a browser to {folder / 'rdn-liif.pth'}" in message


@pytest.mark.parametrize(("rank", "expected"), [("0", UserError), ("1", SystemExit)])
def test_several_processes_do_not_fetch_at_once(offer, monkeypatch, rank, expected):
    server = offer()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(expected, match="liif models download tiny" if rank == "0" else "1"):
        resolve_checkpoint("tiny")
    assert server.requests == []
