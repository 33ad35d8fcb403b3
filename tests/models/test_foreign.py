"""Checkpoints in the layout of other code: a model of ours, stored as that code stores it."""

import copy
import re

import pytest
import torch
from helpers.small_models import small

import liif
from liif.models.build import ModelConfig, build_model
from liif.models.foreign.encoders import encoder_config
from liif.models.foreign.translate import translate

MLP = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [16, 12], "act": "gelu"}}
EDSR = {"name": "edsr-baseline", "args": {"n_resblocks": 2, "n_feats": 8, "res_scale": 0.5}}
SINUSOID = {"posenc_type": "sinusoid", "posenc_scale": 10, "enc_dims": 8, "hidden_dims": 64}


def itsrn():
    model = small(decoder="itsrn", score=256)
    names = [(r"decoder\.imnet\.", "imnet.layers."), (r"decoder\.score\.", "Score.layers."),
             (r"decoder\.blend\.", "Weight.layers.")]  # fmt: skip
    switches = {"feat_unfold": True, "local_ensemble": True, "scale_token": True}
    return model, "ITNSR", {"encoder_spec": EDSR, "imnet_spec": MLP, **switches}, names


def clit():
    model = small(decoder="clit", stages=2, hidden=(16, 12))
    names = [(r"decoder\.position\.", "pb_encoder.proj."), (r"decoder\.", ""),
             (r"(imnets\.\d)\.", r"\1.layers.")]  # fmt: skip
    args = {"encoder_spec": EDSR, "imnet_spec": MLP, "base_dim": 8, "head": 2, "r": 2}
    args |= {"pb_spec": {"name": "posenc", "args": SINUSOID}, "imnet_num": 2, "conv_num": 2}
    return model, "clit", {**args, "is_cell": True, "local_attn": True}, names


def ope():
    encoder = {"name": "edsr-baseline", "blocks": 1, "width": 27}
    decoder = {"name": "ope", "waves": 1, "adapt": False}
    spec = {"name": "adaptive-edsr-baseline", "args": {"n_feats": 27, "n_resblocks": 1}}
    model = build_model(ModelConfig(encoder=encoder, decoder=decoder))
    return model, "OPE-net", {"max_freq": 1, "srnet_spec": spec}, [(r"encoder\.", "srnet.")]


def adapted_ope():
    model, args = small(decoder="ope"), {"max_freq": 1, "srnet_spec": EDSR}
    return model, "OPE-net-adapt", args, [(r"encoder\.", "srnet.")]


MODELS = {"itsrn": itsrn, "clit": clit, "ope": ope, "adapted ope": adapted_ope}


def stored(name):
    """A model, and the content of its checkpoint as other code writes it."""
    model, title, args, names = MODELS[name]()
    weights = {}
    for key, value in model.half().float().eval().state_dict().items():
        for ours, theirs in names:
            key = re.sub(f"^{ours}", theirs, key)
        if key.startswith("decoder.coef."):  # OPE-SR has one convolution for each colour
            for colour, part in zip("RGB", value.chunk(3), strict=True):
                weights[f"adapt_{colour}.{key.removeprefix('decoder.coef.')}"] = part.clone()
        else:
            weights[key] = value
    return model, {"model": {"name": title, "args": args, "sd": weights}, "epoch": 1000}


@pytest.mark.parametrize("encoder", ["edsr-baseline", "rdn"])
def test_files_of_the_framework_of_ciaosr(encoder, tmp_path):
    sizes = {"rdn": {"blocks": 3, "layers": 2, "growth": 5, "width": 6}}
    sizes["edsr-baseline"] = {"blocks": 3, "width": 6}
    normalization = {"mean": [0.4488, 0.4371, 0.4040], "std": 1.0}
    decoder = {"name": "ciaosr", "hidden": [7, 8, 9]}
    encoder = {"name": encoder, **sizes[encoder]}
    model = build_model(
        ModelConfig(encoder=encoder, decoder=decoder, normalization=normalization), seed=2
    ).eval()
    names = [
        (r"encoder\.SFENet", "sfe"),
        (r"encoder\.RDBs\.(\d)\.convs\.(\d)\.conv\.0", r"rdbs.\1.layers.\2.conv"),
        (r"encoder\.RDBs\.(\d)\.LFF", r"rdbs.\1.lff"),
        (r"encoder\.GFF", "gff"),
        (r"encoder\.head\.0", "conv_first"),
        (r"encoder\.body\.3", "conv_after_body"),
        (r"encoder\.body\.(\d)\.body\.0", r"body.\1.conv1"),
        (r"encoder\.body\.(\d)\.body\.2", r"body.\1.conv2"),
        (r"decoder\.", ""),
    ]
    weights = {"generator.cs_attn.escape_NaN": torch.tensor([1e-4])}
    for key, value in model.state_dict().items():
        for ours, theirs in names:
            key = re.sub(f"^{ours}", theirs, key)
        weights[f"generator.{key}"] = value
    torch.save({"meta": {"iter": 1}, "state_dict": weights}, tmp_path / "latest.pth")
    lr = torch.rand(3, 6, 7)
    found = liif.load(tmp_path / "latest.pth").upscale(lr, scale=2.5)
    assert torch.equal(found, model.upscale(lr, scale=2.5))


def test_the_swinir_of_ciaosr_is_refused_by_name():
    names = ["generator.imnet_q.layers.0.weight", "generator.patch_embed.norm.weight"]
    weights = dict.fromkeys(names, torch.zeros(1))
    with pytest.raises(ValueError, match="'ciaosr' is read with the encoders EDSR and RDN only"):
        translate({"state_dict": weights})


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
@pytest.mark.parametrize("name", MODELS)
def test_they_load_and_give_the_same_image(name, prefix, tmp_path):
    model, content = stored(name)
    content["model"]["sd"] = {prefix + k: v.half() for k, v in content["model"]["sd"].items()}
    content["optimizer"] = {"name": "adam", "sd": {"state": {0: {"exp_avg": torch.rand(3)}}}}
    torch.save(content, tmp_path / "epoch-last.pth")
    lr = torch.rand(3, 6, 7)
    found = liif.load(tmp_path / "epoch-last.pth").upscale(lr, scale=4.5)
    assert torch.equal(found, model.upscale(lr, scale=4.5))


@pytest.mark.parametrize(
    ("name", "place", "value", "words"),
    [
        *[("itsrn", [key], False, key) for key in ("local_ensemble", "feat_unfold", "scale_token")],
        ("itsrn", ["embedding_coord"], {"name": "mlp"}, "embedding_coord"),
        ("itsrn", ["imnet_spec", "args", "act"], "sine", "act: 'sine'"),
        ("itsrn", ["imnet_spec", "args", "skip"], 1, "skip: 1 is an unknown switch"),
        ("itsrn", ["encoder_spec", "args", "bn"], True, "bn: True is an unknown switch"),
        *[("clit", [key], False, f"{key}: False") for key in ("is_cell", "local_attn")],
        ("clit", ["conv_num"], 1, "conv_num: 1 differs from imnet_num: 2"),
        ("clit", ["pb_spec"], None, "posenc_type: None"),
        ("clit", ["pb_spec", "args", "posenc_scale"], 6, "posenc_scale: 6"),
        ("clit", ["imnet_spec", "args", "act"], "relu", "act: 'relu'"),
        ("clit", ["imnet_spec", "name"], "siren", "its network 'siren'"),
        ("ope", ["omega"], 1.5, "omega: 1.5 is an unknown switch of the model 'OPE-net'"),
    ],
)
def test_other_switches_are_refused_by_name(name, place, value, words):
    content = copy.deepcopy(stored(name)[1])
    *outer, last = place
    args = content["model"]["args"]
    for key in outer:
        args = args[key]
    args[last] = value
    with pytest.raises(ValueError, match=re.escape(words)):
        translate(content)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "edsr", "args": {"res_block": 2}}, "res_block: 2 is an unknown switch"),
        ({"name": "rdn", "args": {"RDNkSize": 5}}, "RDNkSize: 5 is not supported for the model"),
        ({"name": "rcan", "args": {"act": "gelu"}}, "act: 'gelu' is an unknown switch"),
        ({"name": "swinir", "args": {"ape": True}}, "ape: True is not supported for the model"),
    ],
)
def test_other_switches_of_encoders_are_refused_by_name(spec, words):
    with pytest.raises(ValueError, match=words):
        encoder_config(spec)
