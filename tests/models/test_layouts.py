"""Where other code keeps the weights, what it writes before their names, and switches: known or
refused by name."""

import argparse
import copy
import logging
import re
from pathlib import Path

import pytest
import torch
from helpers.models import TINY
from helpers.paths import ROOT, SHARED
from models.test_checkpoint import CONFIG, error_of, official, same
from models.test_foreign import MODELS, stored

import liif
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import load_checkpoint, save_checkpoint
from liif.models.decoders.srno import SrnoConfig
from liif.models.encoders.rdn import RdnConfig
from liif.models.encoders.swinir import SwinIrConfig
from liif.models.foreign.encoders import encoder_config
from liif.models.foreign.official import official_content
from liif.models.foreign.translate import translate

pytestmark = pytest.mark.usefixtures("folder")
RDN = SHARED / "golden" / "rdn-small.pth"
GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.pth"))


@pytest.fixture(scope="module")
def model():
    return build_model(CONFIG, seed=3).eval()


def weights_of(model, before="", after=""):
    """By official names, with something before them and after the name of the encoder."""
    weights = official(model)["model"]["sd"]
    return {before + k.replace("encoder.", f"encoder.{after}"): v for k, v in weights.items()}


def of_mmagic(model):
    names = [(r"encoder\.head\.0", "conv_first"), (r"encoder\.body\.1\.", "conv_after_body."),
             (r"encoder\.body\.0\.body\.0", "body.0.conv1"),
             (r"encoder\.body\.0\.body\.2", "body.0.conv2")]  # fmt: skip
    weights = weights_of(model)
    for theirs, ours in names:
        weights = {re.sub(theirs, ours, key): value for key, value in weights.items()}
    return {key: value for key, value in weights.items() if "_mean" not in key}


def random_like(weights):
    return {key: torch.rand_like(value) for key, value in weights.items()}


LAYOUTS = {
    "alone": weights_of,
    "model.": lambda m: weights_of(m, "model."),
    "several wrappers": lambda m: weights_of(m, "module._orig_mod.model.", "_orig_mod."),
    "some wrapped": lambda m: {
        ("model._orig_mod." if "body" in k else "model.") + k: v for k, v in weights_of(m).items()
    },
    "lightning": lambda m: {
        "state_dict": weights_of(m, "net."), "pytorch-lightning_version": "2.0", "epoch": 1,
        "hyper_parameters": {"lr": 1e-4, "local_ensemble": True},
        "callbacks": {"ModelCheckpoint": {"best": torch.tensor(1.0)}}, "loops": {"act": "x"},
    },
    "mmagic": lambda m: {
        "meta": {"iter": 1}, "message_hub": argparse.Namespace(a=1), "optimizer": {"state": {}},
        "state_dict": {f"generator.{k}": v for k, v in of_mmagic(m).items()}
        | {"data_preprocessor.mean": torch.zeros(3), "generator.step_counter": torch.tensor(1)},
    },
    "mmagic, average": lambda m: {"state_dict":
        {f"generator.{k}": v for k, v in random_like(of_mmagic(m)).items()}
        | {f"generator_ema.{k}": v for k, v in of_mmagic(m).items()}
        | {f"discriminator.{k}": v for k, v in random_like(weights_of(m)).items()}},
    "BasicSR": lambda m: {"params": random_like(weights_of(m)), "params_ema": weights_of(m)},
    "net_g": lambda m: {"net_g": weights_of(m, "module."), "iter": 4},
    "average of PyTorch": lambda m: {
        "ema": {**weights_of(m, "module."), "n_averaged": torch.tensor(9)},
        "model": random_like(weights_of(m)),
    },
    "parts": lambda m: {
        part: {k.partition(".")[2]: v for k, v in weights_of(m).items() if k.startswith(part)}
        for part in ("encoder", "imnet")
    },
    "names of this package": lambda m: {"state_dict": m.state_dict()},
}  # fmt: skip


@pytest.mark.parametrize("kind", LAYOUTS)
def test_layouts_of_other_code(model, kind, caplog):
    torch.save(LAYOUTS[kind](model), "a.ckpt")
    assert same(liif.load("a.ckpt"), model)
    text = caplog.text
    assert "by their shapes" in text
    is_average = kind in ("mmagic, average", "BasicSR", "average of PyTorch")
    assert ("ema" in text) == is_average


RCAN = {"name": "rcan", "groups": 2, "blocks": 1, "width": 4, "reduction": 2}
SWINIR = {"name": "swinir", **SwinIrConfig.SMALL, "width": 64}
RECOGNISED = {
    "lte": {"decoder": {"name": "lte", "waves": 4, "hidden": [9]}},
    "metasr": {"decoder": {"name": "metasr"}},
    "upsampler": {"decoder": {"name": "upsampler", "scale": 4}},
    "rcan": {"encoder": RCAN},
    "swinir": {"encoder": SWINIR},
    "no cell": {"decoder": {"name": "liif", "hidden": [9, 7], "cell_decode": False}},
    "no unfolding": {"decoder": {"name": "liif", "hidden": [], "feature_unfold": False}},
}


@pytest.mark.parametrize("name", RECOGNISED)
def test_models_are_recognised_by_their_shapes(name):
    config = ModelConfig.model_validate({**TINY, **RECOGNISED[name]})
    wanted = build_model(config, seed=1).eval()
    weights = wanted.state_dict()
    if name != "swinir":
        weights = official_content(config, weights)["model"]["sd"]
    torch.save(weights, "a.pth")
    assert same(load_checkpoint("a.pth"), wanted)


@pytest.mark.skipif(not RDN.is_file(), reason=f"needs {RDN}")
def test_weights_of_rdn_are_recognised_by_their_shapes():
    content = torch.load(RDN, map_location="cpu", weights_only=True)
    torch.save(content["model"]["sd"], "a.pth")
    assert same(load_checkpoint("a.pth"), load_checkpoint(RDN))


def test_other_weights_are_listed_and_asked_for():
    torch.save({"state_dict": {"fc.weight": torch.zeros(2, 3)}}, "a.pth")
    message = error_of("a.pth")
    assert "no weights of a model that is known" in message and "liif convert --arch" in message
    torch.save({"imnet.layers.0.weight": torch.zeros(2, 3)}, "a.pth")
    assert "imnet.layers.0.weight (2, 3)" in error_of("a.pth")


def test_layers_that_a_fork_adds_are_not_passed_over(model):
    for name in ("refine.weight", "imnet.norm.weight", "model.refine.weight"):
        before = "model." if name.startswith("model.") else ""
        torch.save({**weights_of(model, before), name: torch.zeros(2)}, "a.pth")
        assert f"1 not expected: {name.removeprefix('model.')}".replace(
            "imnet.", "decoder.mlp.") in error_of("a.pth")  # fmt: skip


# Switches


def descriptions():
    """(name, content) of a checkpoint of each model and encoder that is known."""
    spec = {"name": "edsr-baseline", "args": {"n_resblocks": 1, "n_feats": 8}}
    mlp = {"name": "mlp", "args": {"hidden_list": [8]}}
    narrow = {"name": "lmmlp", "args": {"hidden_dim": 8, "hidden_depth": 2}}
    args = {
        "liif": {"imnet_spec": mlp}, "metasr": {}, "lte": {"imnet_spec": mlp, "hidden_dim": 8},
        "lte-fast": {"hidden_dim": 8}, "sronet": {"width": 16},
        "lmliif": {"imnet_spec": narrow, "hypernet_spec": mlp},
        "lmlte": {"imnet_spec": narrow, "hypernet_spec": mlp, "hidden_dim": 8},
        "linf": {"imnet_spec": {"name": "flow", "args": {"name": "flow"}}, "hidden_dim": 8},
        "hiif": {"hidden_dim": 8, "blocks": 2}, "ciaosr": {"hidden_list": [8]},
    }  # fmt: skip
    for name, more in args.items():
        yield name, {"name": name, "args": {"encoder_spec": spec, **more}, "sd": {}}
    for name in MODELS:
        yield name, {**stored(name)[1]["model"], "sd": {}}
    encoders = {"rdn": {"RDNconfig": "A"}, "rcan": {"reduction": 4}, "edsr": {"res_scale": 0.1},
                "swinir": {"img_size": 48}}  # fmt: skip
    for name, more in encoders.items():
        encoder = {"encoder_spec": {"name": name, "args": more}}
        yield name, {"name": "liif", "args": {**encoder, "imnet_spec": mlp}, "sd": {}}


def mappings(value, path=()):
    yield path
    for key, item in value.items():
        if isinstance(item, dict) and key != "sd":
            yield from mappings(item, (*path, key))


DESCRIPTIONS = dict(descriptions())
SWITCHES = {"siren": True, "act": "gelu", "norm": "layer", "residual": True, "activation": "sine"}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_switch_of_a_fork_is_refused_wherever_it_is(name):
    for path in mappings(DESCRIPTIONS[name]):
        for switch, value in SWITCHES.items():
            model = copy.deepcopy(DESCRIPTIONS[name])
            place = model
            for key in path:
                place = place[key]
            place[switch] = value
            if (switch, value) == ("act", "gelu") and name in ("itsrn", "clit"):
                continue  # their own
            with pytest.raises(ValueError, match=f"{switch}: {value!r}"):
                translate({"model": model})


def test_other_networks_are_refused_by_name():
    model = copy.deepcopy(DESCRIPTIONS["liif"])
    model["args"]["imnet_spec"]["name"] = "siren"
    with pytest.raises(ValueError, match="its network 'siren' is not supported"):
        translate({"model": model})
    with pytest.raises(ValueError, match="no_upsampling: False is not supported"):
        encoder_config({"name": "rdn", "args": {"no_upsampling": False}})
    with pytest.raises(ValueError, match="local_ensemble: False is an unknown switch"):
        translate({"model": {**DESCRIPTIONS["metasr"], "args": {
            **DESCRIPTIONS["metasr"]["args"], "local_ensemble": False}}})  # fmt: skip


@pytest.mark.parametrize("place", ["hyper_parameters", "opt", "config"])
@pytest.mark.parametrize("kind", [dict, lambda **values: argparse.Namespace(**values)])
def test_switches_among_hyper_parameters(model, place, kind):
    def content(**switches):
        return {"state_dict": weights_of(model), place: kind(lr=1e-4, **switches)}

    for switch in ({"act": "gelu"}, {"siren": True}, {"norm": "batch"}):
        torch.save(content(**switch), "a.pth")
        ((key, value),) = switch.items()
        assert f"{key}: {value!r} is not supported for the model 'liif'" in error_of("a.pth")
    torch.save(content(local_ensemble=False, act="relu", res_scale=0.5), "a.pth")
    found = load_checkpoint("a.pth")
    assert not found.decoder.local_ensemble and found.encoder.body[0].scale == 0.5


def test_arguments_among_hyper_parameters(model):
    args = official(model)["model"]["args"]
    changed = {**args, "local_ensemble": False}
    torch.save({"state_dict": weights_of(model, "model."), "hparams": changed}, "a.pth")
    assert not load_checkpoint("a.pth").decoder.local_ensemble
    changed["imnet_spec"] = {**args["imnet_spec"], "name": "siren"}
    torch.save({"state_dict": weights_of(model, "model."), "hparams": changed}, "a.pth")
    assert "its network 'siren'" in error_of("a.pth")


# `liif convert`


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_official_files_come_back_as_they_were(cli, path):
    """Through our format: the names, the arguments and the numbers that the official code wrote."""
    assert cli("convert", "--checkpoint", path, "-o", "a.pt")[0] == 0
    assert cli("convert", "--checkpoint", "a.pt", "-o", "a.pth")[0] == 0
    before, after = (torch.load(f, weights_only=True, map_location="cpu") for f in (path, "a.pth"))
    before, after = before["model"], after["model"]
    assert before["sd"].keys() == after["sd"].keys() and before["name"] == after["name"]
    assert all(torch.equal(value, after["sd"][key]) for key, value in before["sd"].items())
    for key, value in before["args"].items():
        if key == "encoder_spec":
            assert value["name"] == after["args"][key]["name"]
            assert value["args"].items() <= after["args"][key]["args"].items()
        else:
            assert after["args"][key] == value


def test_what_the_official_code_does_not_have_is_named(refused):
    for part, words in (
        (
            {"decoder": {"name": "srno", **SrnoConfig.SMALL}},
            "no such decoder: srno; it has liif, metasr and upsampler",
        ),
        ({"encoder": SWINIR}, "no such encoder: swinir; it has edsr-baseline, rdn and"),
        ({"channels": {"in": 1, "out": 1}}, "models of RGB images normalised by 0.5 only"),
        ({"normalization": {"mean": 0.4, "std": 0.5}}, "normalised by 0.5 only"),
        ({"encoder": {"name": "rdn", **RdnConfig.SMALL}}, "RDN in the configurations A and B only"),
    ):
        config = ModelConfig.model_validate({**TINY, **part})
        weights = build_model(config).state_dict()
        save_checkpoint(Path("a.pt"), config, weights)
        assert words in refused("convert", "--checkpoint", "a.pt", "-o", "a.pth")
        assert not Path("a.pth").exists()


def test_the_architecture_of_weights_alone_can_be_stated(cli, refused, model, caplog):
    caplog.set_level(logging.WARNING)
    torch.save(weights_of(model), "a.pth")
    Path("a.yaml").write_text(
        "model:\n  encoder: {name: edsr-baseline, blocks: 1, width: 6, residual_scale: 0.5}\n"
        "  decoder: {name: liif, hidden: [8], local_ensemble: false}\n"
    )
    assert cli("convert", "--checkpoint", "a.pth", "--arch", "a.yaml", "-o", "a.pt")[0] == 0
    found = load_checkpoint("a.pt")
    assert not found.decoder.local_ensemble and found.encoder.body[0].scale == 0.5
    assert "by their shapes" not in caplog.text
    wrong = refused("convert", "--checkpoint", "a.pth", "--arch", "edsr-liif", "-o", "b.pt")
    assert "its weights do not fit the model it describes" in wrong
    torch.save({"model": model.state_dict()}, "c.pth")
    assert cli("convert", "--checkpoint", "c.pth", "--arch", "a.yaml", "-o", "c.pt")[0] == 0
    missing = refused("convert", "--checkpoint", "a.pth", "--arch", "no.yaml", "-o", "b.pt")
    assert "no.yaml" in missing


def test_the_layout_of_the_output_can_be_named(cli, refused, tiny_checkpoint):
    convert = ("convert", "--checkpoint", tiny_checkpoint)
    assert cli(*convert, "--to", "official", "-o", "a.pt")[0] == 0
    assert torch.load("a.pt", weights_only=True)["model"]["name"] == "liif"
    assert cli(*convert, "--to", "liif", "-o", "b.ckpt")[0] == 0
    assert same(load_checkpoint("a.pt"), load_checkpoint("b.ckpt"))
    assert "does not fit the ending" in refused(*convert, "--to", "safetensors", "-o", "c.pt")
