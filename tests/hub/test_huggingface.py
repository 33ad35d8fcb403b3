"""The Hugging Face Hub's layout in a folder, and torch.hub from a checkout. No network."""

import json
import pickle
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from helpers.models import TINY
from helpers.paths import ROOT
from helpers.pictures import texture

import liif
from liif.core.errors import UserError
from liif.hub import catalog, pretrained
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import save_weights

pytest.importorskip("huggingface_hub", reason='needs pip install "liif[hub]"')
hub = pytest.importorskip("liif.hub.huggingface")
HubModel, hub_model = hub.HubModel, hub.hub_model
CONFIG = ModelConfig.model_validate(TINY)
ABOUT = {"title": "tiny", "data": "our own {photos}", "scores": "Set5 x2 30.00 dB"}


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    """A tiny model in the Hub's layout."""
    path = tmp_path / "model"
    hub_model(tiny_checkpoint, **ABOUT, licence="BSD-3-Clause").save_pretrained(path)
    return path


def weights_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(a, b):
    a, b = weights_of(a), weights_of(b)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# The Hub's layout


def test_it_comes_back_bit_for_bit(folder, tiny_checkpoint, tmp_path):
    assert {file.name for file in folder.iterdir()} == {
        "config.json", "model.safetensors", "README.md",
    }  # fmt: skip
    original, model = liif.load(tiny_checkpoint), HubModel.from_pretrained(folder)
    assert same(original, model) and not model.training
    lr = torch.from_numpy(texture(9, 8)).permute(2, 0, 1) / 255
    assert torch.equal(original.upscale(lr, scale=2.5), model.upscale(lr, scale=2.5))
    model.save_pretrained(tmp_path / "again")
    for name in ("config.json", "README.md"):
        assert (folder / name).read_text() == (tmp_path / "again" / name).read_text()
    assert same(HubModel.from_pretrained(tmp_path / "again"), original)


def test_the_configuration_is_a_model_configuration(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("about") == {**ABOUT, "licence": "BSD-3-Clause"}
    assert ModelConfig.model_validate(config) == CONFIG
    assert config["decoder"]["local_ensemble"] is True  # defaults are written out


def test_its_weights_are_a_checkpoint_too(folder, tiny_checkpoint, cli):
    assert same(liif.load(folder / "model.safetensors"), liif.load(tiny_checkpoint))


def test_the_card_tells_what_is_known(folder):
    _, facts, text = (folder / "README.md").read_text().split("---\n", 2)
    facts = yaml.safe_load(facts)
    assert (facts["library_name"], facts["license"]) == ("liif", "bsd-3-clause")
    assert facts["pipeline_tag"] == "image-to-image" and "super-resolution" in facts["tags"]
    sections = {part.partition("\n")[0]: part for part in text.split("\n## ")[1:]}
    assert list(sections) == ["Architecture", "Training data", "Scores", "Limits", "Licence"]
    assert "blocks=1" in sections["Architecture"] and "hidden=(16,)" in sections["Architecture"]
    count = sum(value.numel() for value in build_model(CONFIG).state_dict().values())
    assert f"{count:,} weights" in sections["Architecture"]
    assert sections["Training data"].endswith("our own {photos}\n")
    assert "30.00 dB" in sections["Scores"] and "JPEG" in sections["Limits"]


def test_what_is_not_known_is_said(tiny_checkpoint, tmp_path):
    hub_model(tiny_checkpoint).save_pretrained(tmp_path / "a")
    text = (tmp_path / "a" / "README.md").read_text()
    assert text.count("not stated") == 3 and "license:" not in text


def test_named_models_bring_their_facts(monkeypatch, tmp_path):
    named = catalog.Pretrained(
        name=catalog.DEFAULT, title="tiny", config=TINY, file="tiny.safetensors", is_shipped=True,
        licence="BSD-3-Clause", data="mountains", scores="good",
    )  # fmt: skip
    save_weights(tmp_path / named.file, CONFIG, build_model(CONFIG).state_dict())
    monkeypatch.setattr(catalog, "SHIPPED", tmp_path)
    monkeypatch.setattr(catalog, "MODELS", (named,))
    assert hub_model().about.data == hub_model(catalog.DEFAULT).about.data == "mountains"
    assert hub_model(catalog.DEFAULT, data="hills").about.data == "hills"
    elsewhere = Path(shutil.copy(tmp_path / named.file, tmp_path / "other.safetensors"))
    assert hub_model(elsewhere).about.data == "not stated"


def test_from_the_hub_only_two_files_are_asked_for(folder, monkeypatch):
    asked = []

    def download(repo_id, filename, **options):
        asked.append((repo_id, filename, options["revision"]))
        return str(folder / filename)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", download)
    model = HubModel.from_pretrained("somebody/model", revision="v1")
    assert same(model, HubModel.from_pretrained(folder))
    assert asked == [
        ("somebody/model", "config.json", "v1"), ("somebody/model", "model.safetensors", "v1"),
    ]  # fmt: skip


class Attack:
    def __reduce__(self):
        return (Path.touch, (Path("attacked"),))


def drop_weights(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def pickled(name):
    def change(folder):
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(pickle.dumps({"weights": Attack()}))

    return change


def config(change):
    def write(folder):
        content = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(change(content)))

    return write


def cut(folder):
    (folder / "config.json").write_text('{"encoder": ')


def other(content):
    content["decoder"]["hidden"] = [4096] * 64
    return content


def foreign(content):
    content["encoder"]["name"] = "swin"
    return content


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop_weights, "no such checkpoint file"),
        (pickled("pytorch_model.bin"), "no such checkpoint file"),
        (pickled("model.safetensors"), "damaged, or not a safetensors file"),
        (lambda folder: (folder / "config.json").unlink(), "config.json: encoder"),
        (cut, "not a model of this package"),
        (config(lambda content: [content]), "not a model of this package"),
        (config(lambda content: {**content, "encoder": None}), "config.json: encoder"),
        (config(lambda content: {**content, "about": {"title": 5}}), "config.json: about.title"),
        (config(foreign), "config.json: encoder"),
        (config(other), "describes another model"),
    ],
)
def test_what_is_no_model_of_ours_is_told_and_nothing_runs(folder, monkeypatch, change, reason):
    monkeypatch.chdir(folder.parent)
    change(folder)
    with pytest.raises(UserError, match=reason):
        HubModel.from_pretrained(folder)
    assert not Path("attacked").exists()


def test_without_the_extra_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'pip install "liif\[hub\]"'):
        runpy.run_path(hub.__file__)


# torch.hub


def from_checkout(name, **options):
    return torch.hub.load(str(ROOT), name, source="local", **options)


def test_torch_hub_has_five_models_with_help():
    content = runpy.run_path(str(ROOT / "hubconf.py"))
    offered = {name for name, value in content.items() if callable(value) and name[0] != "_"}
    assert offered == {"lite", "lite_photo", "edsr_liif", "edsr_light", "liif"}
    for name in offered:
        assert "device: the model's device" in content[name].__doc__


@pytest.mark.parametrize("name", ["edsr_liif", "edsr_light"])
def test_torch_hub_builds_models_without_weights(name):
    model = from_checkout(name, pretrained=False)
    expected = pretrained.find_model(name).model
    assert model.encoder.width == expected.encoder.width and not model.training
    assert model.decoder.code_channels == expected.decoder.hidden[0]


def test_torch_hub_loads_checkpoints(tiny_checkpoint):
    assert same(from_checkout("liif", checkpoint=tiny_checkpoint), liif.load(tiny_checkpoint))


def test_torch_hub_loads_models_by_name(monkeypatch, tmp_path):
    content = pretrained.find_model("edsr-light").model
    expected = build_model(content, seed=3)
    save_weights(tmp_path / "edsr-light.safetensors", content, expected.state_dict())
    monkeypatch.setattr(catalog, "SHIPPED", tmp_path)
    assert same(from_checkout("edsr_light"), expected)
