"""Attacks by checkpoints, configurations and names: nothing runs, hangs or is written elsewhere.

Pictures are in test_bombs.py, archives in data/test_unpack.py."""

import ast
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from fuzz.cases import confine, within_limits
from helpers.models import TINY
from helpers.pictures import texture

from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.images.rgb8 import read_image, write_image
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import FORMAT, load_checkpoint, read_checkpoint, save_checkpoint
from liif.training.config import TrainConfig
from liif.training.resume import read_resumable

pytestmark = pytest.mark.timeout(0)  # `within_limits` has a shorter one

MODEL = ModelConfig.model_validate(TINY)
WEIGHTS = build_model(MODEL).state_dict()
DATA = {"sampling": "random-scale", "images": "x"}
CONFIG = TrainConfig.model_validate({"model": TINY, "train_data": DATA})
PACKAGE = Path(__file__).parent.parent / "liif"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    place = tmp_path / "inside"
    place.mkdir()
    yield confine(place, monkeypatch)
    assert [path.name for path in tmp_path.iterdir() if path.name != "photos"] == ["inside"]


def refusal(call, *arguments):
    """The message of the UserError that it must end in, within the limits."""
    with within_limits(Path.cwd()), pytest.raises(UserError) as caught:
        call(*arguments)
    return str(caught.value)


# Checkpoints


class Command:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_the_command_would_run():
    pickle.loads(pickle.dumps(Command()))
    assert Path("ran").exists()


@pytest.mark.parametrize("name", ["x.pt", "x.pth", "x.safetensors", "x.bin"])
@pytest.mark.parametrize("save", [torch.save, lambda thing, file: file.write(pickle.dumps(thing))])
def test_code_in_a_checkpoint(name, save):
    ours, official = {"format": FORMAT, "model": Command()}, {"model": {"sd": {}}, "x": Command()}
    for content in (Command(), ours, official, [Command()]):
        with Path(name).open("wb") as file:
            save(content, file)
        message = refusal(load_checkpoint, name)
        assert name in message and (not name.startswith("x.pt") or "could run code" in message)
        assert os.listdir() == [name]


def test_code_in_the_state_of_a_run(cli):
    training = {"config": CONFIG.model_dump(mode="json"), "optimizer": Command()}
    save_checkpoint(Path("x.pt"), MODEL, WEIGHTS, training)
    assert "could run code" in refusal(read_resumable, Path("x.pt"))
    data = {"model": TINY, "train_data": DATA}
    Path("c.yaml").write_text(yaml.safe_dump(data))
    assert cli("train", "--config", "c.yaml", "--resume", "x.pt")[0] == 1
    assert not Path("ran").exists()


def write_safetensors(header, body=b"", size=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(header) if size is None else size
    Path("x.safetensors").write_bytes(struct.pack("<Q", size) + header + body)


def described(model):
    return {"__metadata__": {"format": FORMAT, "model": model}}


@pytest.mark.parametrize(
    "arguments",
    [
        ({}, b"", 2**63),
        ({}, b"", 99 * 2**20),
        ({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, b"0000"),
        ({"a": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 0]}},),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, b"0000"),
        (b'{"a":' * 100_000,),
        (described("[" * 100_000),),
        (described("1" * 10_000),),
        (described(json.dumps({**TINY, "encoder": {"name": "edsr-baseline", "width": -1}})),),
        (described(json.dumps({**TINY, "encoder": {"name": "edsr-baseline", "width": 2**40}})),),
        ({**described(json.dumps(TINY)),
          "a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, b"0"),
    ],
    ids=["length 2⁶³", "length 99 MB", "shape", "overflow", "offset", "deep", "deep model",
         "digits", "negative", "wide", "half bytes"],
)  # fmt: skip
def test_hostile_safetensors(arguments):
    write_safetensors(*arguments)
    assert "x.safetensors: " in refusal(load_checkpoint, "x.safetensors")


def laughing(value="ha"):
    """Forty short lists; a million million words when printed."""
    for _ in range(40):
        value = [value, value]
    return value


NAME = "encoder.head.0.weight"
SHAPE = WEIGHTS[NAME].shape


@pytest.mark.parametrize(
    "content",
    [
        {"model": {"name": laughing(), "args": {}, "sd": {}}},
        {"model": {"name": "liif", "args": {"encoder_spec": {"name": laughing()}}, "sd": {}}},
        {"format": FORMAT, "model": {"encoder": {"name": laughing()}}, "weights": {}},
        {"format": FORMAT, "model": TINY, "weights": {**WEIGHTS, "a": 1}},
        {"format": FORMAT, "model": TINY, "weights": {**WEIGHTS, NAME: WEIGHTS[NAME].to("meta")}},
        {"format": FORMAT, "model": TINY, "weights": {**WEIGHTS, NAME: WEIGHTS[NAME].to_sparse()}},
        {"format": FORMAT, "model": TINY,
         "weights": {**WEIGHTS, NAME: torch.zeros(1).half().expand(10**5, 10**5)}},
        {"format": FORMAT, "model": TINY,
         "weights": {**WEIGHTS, NAME: torch.zeros(1).expand(SHAPE)}},
        {"model": {"name": "liif", "sd": {}, "args": {
            "encoder_spec": {"name": "edsr-baseline", "args": torch.zeros(3)}}}},
    ],
    ids=["laughs", "laughing encoder", "laughing name", "a number", "meta", "sparse", "20 GB",
         "one number", "a tensor"],
)  # fmt: skip
def test_hostile_contents(content):
    torch.save(content, "x.pt")
    assert len(refusal(load_checkpoint, "x.pt")) < 1000


def test_a_laughing_state_of_a_run():
    save_checkpoint(Path("x.pt"), MODEL, WEIGHTS, {"config": {"steps": laughing()}})
    refusal(read_resumable, Path("x.pt"))


def test_an_archive_that_unpacks_to_a_thousand_times_its_size():
    save_checkpoint(Path("a.pt"), MODEL, {**WEIGHTS, "more": torch.zeros(5 * 10**7)})
    with zipfile.ZipFile("a.pt") as source, zipfile.ZipFile("x.pt", "w", 8) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert Path("x.pt").stat().st_size < 10**6
    assert "x.pt: damaged" in refusal(read_checkpoint, Path("x.pt"))


# Configurations


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch ran']",
        "a: !!python/object/apply:os.system ['touch ran']",
        "a: !!python/object/new:os.system [touch ran]",
        "a: !!python/name:os.system",
        "a: !!python/module:this",
        "!!python/object/apply:eval [\"open('ran', 'w')\"]",
        "%TAG ! tag:yaml.org,2002:python/\n---\na: !object/apply:os.system ['touch ran']",
    ],
)
def test_code_in_yaml(text):
    Path("c.yaml").write_text(text)
    assert "tags (!name) are not supported" in refusal(load_config, TrainConfig, Path("c.yaml"))
    good = {"model": TINY, "train_data": DATA}
    Path("c.yaml").write_text(yaml.safe_dump(good))
    setting = "seed=" + text.removeprefix("a: ")
    assert "--set seed" in refusal(load_config, TrainConfig, Path("c.yaml"), [setting])
    assert not Path("ran").exists()


def test_a_billion_laughs_in_yaml():
    lines = [
        "a0: &a0 ha",
        *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)),
    ]
    Path("c.yaml").write_text("\n".join(lines))
    assert "aliases" in refusal(load_config, TrainConfig, Path("c.yaml"))


@pytest.mark.parametrize(
    "text",
    ["a: " + "[" * 50_000, "".join(f"a{i}: 1\n" for i in range(200_000)), "a: " + "x" * 10**7],
    ids=["deep", "keys", "long"],
)
def test_endless_yaml(text):
    Path("c.yaml").write_text(text)
    refusal(load_config, TrainConfig, Path("c.yaml"))


@pytest.mark.parametrize(
    "base", ["/dev/zero", "/dev/stdin", "pipe", "/etc/passwd", "/proc/self/mem"]
)
def test_bases_that_are_no_files_of_ours(base):
    os.mkfifo("pipe")
    Path("c.yaml").write_text(f"base: {base}\n")
    assert base in refusal(load_config, TrainConfig, Path("c.yaml"))


def test_an_endless_configuration():
    refusal(load_config, TrainConfig, Path("/dev/zero"))


def test_a_thousand_bases():
    for i in range(1500):
        Path(f"{i}.yaml").write_text(f"base: {i + 1}.yaml\n")
    refusal(load_config, TrainConfig, Path("0.yaml"))


# Names of results


@pytest.mark.parametrize("name", ["../up", "a/b", "/tmp/liif-run", "..", ".", "a/"])
def test_names_of_runs_that_lead_elsewhere(refused, name):
    Path("c.yaml").write_text(yaml.safe_dump({"model": TINY, "train_data": DATA}))
    assert f"--name {name}: must be a plain name" in refused(
        "train", "--config", "c.yaml", "--name", name
    )
    assert os.listdir() == ["c.yaml"] and not Path("/tmp/liif-run").exists()


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_results_that_are_no_files(refused, photos, tiny_checkpoint, kind):
    for name in ("out.png", "out.pt"):
        Path(name).mkdir() if kind == "folder" else os.mkfifo(name)
    use = ("--checkpoint", tiny_checkpoint, "--scale", "2")
    if kind == "pipe":  # a folder is a place for results
        assert "out.png" in refused("upscale", photos / "a.png", "-o", "out.png", *use)
    assert "out.pt" in refused("convert", tiny_checkpoint, "out.pt")
    assert all(Path(n).is_dir() or Path(n).is_fifo() for n in ("out.png", "out.pt"))
    assert sorted(os.listdir()) == ["out.png", "out.pt"]


def test_links_in_the_place_of_results_are_not_followed(cli, photos, tiny_checkpoint):
    for name in ("mine.png", "mine.pt"):
        Path(name).write_text("mine")
        Path(f"out{Path(name).suffix}").symlink_to(name)
    use = ("--checkpoint", tiny_checkpoint, "--scale", "2")
    to = ("--output", "out.png", "--overwrite")
    assert cli("upscale", photos / "a.png", *to, *use)[0] == 0
    assert read_image(Path("out.png")).shape == (80, 120, 3)
    assert cli("convert", tiny_checkpoint, "out.pt")[0] == 1
    save_checkpoint(Path("out.pt"), MODEL, WEIGHTS)
    assert Path("mine.png").read_text() == Path("mine.pt").read_text() == "mine"


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed():
    Path("mine").write_text("mine")
    Path(f".x.pt.{os.getpid()}.tmp").symlink_to("mine")
    save_checkpoint(Path("x.pt"), MODEL, WEIGHTS)
    assert Path("mine").read_text() == "mine" and load_checkpoint("x.pt")
    write_image(Path("x.png"), texture(2, 3))
    assert sorted(os.listdir()) == ["mine", "x.png", "x.pt"]


# The source


def calls(path):
    """(dotted name, keyword arguments) of everything that a file calls."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_the_source_loads_nothing_that_could_run(path):
    forbidden = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
    forbidden |= {"yaml.unsafe_load", "yaml.full_load", "tarfile.extractall"}
    forbidden |= {"shutil.unpack_archive", "torch.jit.load"}
    for name, keywords in calls(path):
        assert name not in forbidden
        assert not name.startswith(("pickle.", "marshal.", "shelve.", "dill.", "joblib."))
        assert name not in ("loads", "Unpickler")  # unpickler.py has one of stand-ins
        assert not name.endswith((".extractall", ".extract"))
        assert keywords.get("shell", "False") == "False"
        if name == "torch.load":
            assert keywords["weights_only"] == "True"
        if name in ("yaml.load", "yaml.load_all"):
            assert keywords["Loader"] == "_Loader"  # a SafeLoader, as test_config_mistakes.py knows
        if name in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle", "False") == "False"
