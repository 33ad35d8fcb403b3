"""Damaged, cut, mixed and invented checkpoints: a model that enlarges, or a UserError."""

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from helpers.models import TINY
from helpers.thera import golden
from helpers.training import OPTIMIZERS, state_of
from hypothesis import given
from hypothesis import strategies as st

from fuzz.cases import confine, damaged, many, within_limits
from liif.core.errors import UserError
from liif.models.build import DECODERS, ENCODERS, ModelConfig, build_model
from liif.models.checkpoint import FORMAT, read_checkpoint
from liif.training.config import TrainConfig
from liif.training.resume import check_continues, read_resumable

pytestmark = [
    pytest.mark.timeout(0),  # cases have their own
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

DATA = {"sampling": "random-scale", "images": "x"}
CONFIG = TrainConfig.model_validate({"model": TINY, "train_data": DATA})
WEIGHTS = build_model(ModelConfig.model_validate(TINY)).state_dict()
NAME = "encoder.head.0.weight"


def saved(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def ours(model=TINY, weights=WEIGHTS, **more):
    return {"format": FORMAT, "model": model, "weights": weights, **more}


def stepped(state):
    """After one more update by gradients of zeros."""
    for parameter in state.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for group in state.optimizer.param_groups:
        group["lr"] = 1e-3
    state.optimizer.step()
    return state


def training(config=CONFIG):
    state = stepped(state_of(config, torch.device("cpu")))
    return {
        "config": config.model_dump(mode="json"),
        "optimizer": state.optimizer.state_dict(),
        "generator": torch.get_rng_state(),
        "step": 3, "validated": 0, "best": 1.0, "window": [0.0, 0.0, 0.0], "seconds": 1.0,
    }  # fmt: skip


def official(args, spec):
    weights = {key.replace("decoder.mlp.", "imnet."): value for key, value in WEIGHTS.items()}
    encoder = {"name": "edsr-baseline", "args": args}
    imnet = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [16]}}
    args = {"encoder_spec": encoder, "imnet_spec": imnet, **spec}
    return {"model": {"name": "liif", "args": args, "sd": weights}, "epoch": 1}


ARGS = {"no_upsampling": True, "n_resblocks": 1, "n_feats": 8}
PYTORCH = [saved(ours()), saved(ours(training=training())), saved(official(ARGS, {}))]
HEADER = {"format": FORMAT, "model": json.dumps(TINY)}
SAFETENSORS = safetensors.torch.save(WEIGHTS, HEADER)
THERA = pickle.dumps({"model": golden("air")[1], "size": "air"})
SEEDS = [*PYTORCH, THERA, SAFETENSORS]
SHARED = Path(os.environ.get("LIIF_SHARED", Path(__file__).parents[3] / "shared"))
OFFICIAL = [path.read_bytes() for path in sorted(SHARED.glob("golden/*.pth"))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return confine(tmp_path, monkeypatch)


def check(folder, data, suffix=".pt"):
    """Whether it is a model."""
    path = folder / f"x{suffix}"
    path.write_bytes(data)
    with within_limits(folder):
        try:
            model = read_checkpoint(path).build()
        except UserError as error:
            message = str(error)
        else:
            assert model.upscale(torch.rand(3, 3, 4), scale=1.5).shape == (3, 4, 6)
            return True
    assert message.startswith(f"{path}: ") and len(message) < 2000
    assert len(message.splitlines()) == 1
    return False


def test_the_seeds_are_models(folder):
    assert all(check(folder, data) for data in [*PYTORCH, THERA])
    assert check(folder, SAFETENSORS, ".safetensors")


@many
@given(data=damaged(SEEDS), suffix=st.sampled_from([".pt", ".pth", ".safetensors"]))
def test_damaged_files(folder, data, suffix):
    check(folder, data, suffix)


@pytest.mark.skipif(not OFFICIAL, reason="needs the development data")
@many
@given(data=damaged(OFFICIAL or [b""]))
def test_damaged_official_files(folder, data):
    check(folder, data)


@many
@given(data=damaged([THERA]))
def test_damaged_thera_files(folder, data):
    check(folder, data, ".pkl")


@st.composite
def repacked(draw):
    """Whole archives with a damaged pickle: past the checksums."""
    source = zipfile.ZipFile(io.BytesIO(draw(st.sampled_from(PYTORCH))))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            is_pickle = name.endswith("data.pkl")
            archive.writestr(name, draw(damaged([content])) if is_pickle else content)
    return file.getvalue()


@many
@given(data=repacked())
def test_damaged_pickles(folder, data):
    check(folder, data)


SIZE = struct.unpack_from("<Q", SAFETENSORS)[0]


@many
@given(header=damaged([SAFETENSORS[8 : 8 + SIZE]]))
def test_damaged_headers(folder, header):
    size = struct.pack("<Q", len(header))
    check(folder, size + header + SAFETENSORS[8 + SIZE :], ".safetensors")


SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 8, 16]), max_size=4) | st.just([10**6])
TYPES = ["float16", "bfloat16", "float32", "float64", "int64", "bool", "complex64", "float8_e5m2"]
TENSORS = st.builds(
    lambda shape, kind: torch.zeros([1] * len(shape), dtype=getattr(torch, kind)).expand(shape),
    SHAPES,
    st.sampled_from(TYPES),
) | st.sampled_from(
    [
        torch.full(WEIGHTS[NAME].shape, torch.nan),
        WEIGHTS[NAME].to_sparse(),
        WEIGHTS[NAME].to("meta"),
        WEIGHTS[NAME].double(),
        torch.zeros(1).half().expand(10**5, 10**5),
    ]
)
KINDS = {**ENCODERS, **DECODERS}
KEYS = [*TINY, *dict.fromkeys(key for kind in KINDS.values() for key in kind.model_fields)]
KEYS += ["n_feats", "n_resblocks", "RDNconfig", "G0", "hidden_list", "args"]
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-2, 20)
    | st.sampled_from([10**6, 10**30, 2**63, "8", "A", *KINDS])
    | st.floats()
    | st.text(max_size=4)
)
VALUES = st.recursive(
    PLAIN | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(KEYS) | PLAIN, inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from([NAME, *WEIGHTS, "more"])
PARTS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3)


@many
@given(encoder=PARTS, decoder=PARTS, weights=st.dictionaries(NAMES, TENSORS | VALUES, max_size=2))
def test_invented_models(folder, encoder, decoder, weights):
    model = {"encoder": {**TINY["encoder"], **encoder}, "decoder": {**TINY["decoder"], **decoder}}
    check(folder, saved(ours(model, {**WEIGHTS, **weights})))


@many
@given(content=st.dictionaries(st.sampled_from(["format", "model", "weights"]), VALUES, max_size=3))
def test_invented_files(folder, content):
    check(folder, saved({**ours(), **content}))


@many
@given(args=PARTS | VALUES, spec=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=2))
def test_invented_official_models(folder, args, spec):
    check(folder, saved(official({**ARGS, **args} if isinstance(args, dict) else args, spec)))


MEMORY = st.dictionaries(
    st.sampled_from(["step", "exp_avg", "exp_avg_sq", "x"]), VALUES, max_size=2
)


@many
@given(
    kind=st.sampled_from([CONFIG.model_copy(update={"optimizer": name}) for name in OPTIMIZERS]),
    parts=st.dictionaries(st.sampled_from(sorted(training())), VALUES, max_size=2),
    group=st.dictionaries(st.sampled_from(["lr", "betas", "params", "eps"]), VALUES, max_size=2),
    weight=st.sampled_from([0, -1]),
    memory=MEMORY,
    forgotten=st.sampled_from(["", "step", "exp_avg", "exp_avg_sq"]),
)
def test_invented_states_of_runs(folder, kind, parts, group, weight, memory, forgotten):
    saved_state = training(kind)
    saved_state["optimizer"]["param_groups"][0].update(group)
    remembered = [*saved_state["optimizer"]["state"].values()][weight]
    remembered.update(memory)
    remembered.pop(forgotten, None)
    path = folder / "x.pt"
    path.write_bytes(saved(ours(training={**saved_state, **parts})))
    state = state_of(kind, torch.device("cpu"))
    with within_limits(folder):
        try:
            start = read_resumable(path)
            check_continues(start, kind, {}, is_branch=True)
            state.restore(start.checkpoint, path)
        except UserError:
            return
    stepped(state)  # what is taken can be gone on with
    assert os.listdir(folder) == ["x.pt"]
