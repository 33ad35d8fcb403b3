"""Exported graphs against the model itself, and the runner that has no PyTorch."""

import io
import json
import sys

import numpy as np
import pytest
import torch
from helpers import processes
from helpers.models import TINY
from helpers.paths import ROOT
from helpers.pictures import texture
from PIL import Image
from torch.export import Dim

from liif.hub import export as export_module
from liif.hub.export import ExportedDecoder, ExportedEncoder, export, graphs
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import Checkpoint, save_checkpoint
from liif.models.decoders.clit import ClitConfig
from liif.models.encoders.swinir import SwinIrConfig
from liif.models.geometry import cell_of, grid_coord, pixel_centres
from liif.models.swin import from_windows, to_windows

PARITY = 1e-4
LIIF = {"name": "liif", "hidden": [16, 12]}
MODELS = {
    "liif": TINY,
    "without ensemble": {**TINY, "decoder": {**LIIF, "local_ensemble": False}},
    "without unfolding": {**TINY, "decoder": {**LIIF, "feature_unfold": False}},
    "without cell": {**TINY, "decoder": {**LIIF, "cell_decode": False}},
    "one layer": {**TINY, "decoder": {"name": "liif", "hidden": []}},
    "metasr": {**TINY, "decoder": {"name": "metasr", "hidden": 16}},
    "rdn": {"encoder": {"name": "rdn", "configuration": "A", "width": 4}, "decoder": LIIF},
    "swinir": {
        "encoder": {"name": "swinir", **SwinIrConfig.SMALL},
        "decoder": {"name": "bilinear"},
    },
}
SIZES = [((1, 1), (1, 1)), ((1, 9), (5, 11)), ((13, 17), (29, 61)), ((23, 8), (92, 17))]
"""Before and after: single pixels and rows, factors of all kinds, odd sides."""


def slow(name):
    """A model whose export takes seconds, as the first one's does."""
    return pytest.param(name, marks=pytest.mark.slow)


def checkpoint(name):
    config = ModelConfig.model_validate(MODELS[name])
    return Checkpoint(config, build_model(config).state_dict(), None)


def picture(height, width):
    return texture(height, width).astype(np.float32) / 255


def reference(name, image, size):
    """The package's own (H, W, 3), not clamped."""
    lr = torch.from_numpy(image).permute(2, 0, 1)
    return checkpoint(name).build().upscale(lr, size=size, clamp=False).permute(1, 2, 0).numpy()


def tensors(image, size):
    """What the two graphs are given: image, and all points and the cell of H × W pixels."""
    lr = torch.from_numpy(image).permute(2, 0, 1)[None]
    y, x = (pixel_centres(n, lr) for n in size)
    return lr, grid_coord(y, x), cell_of(size, lr)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The folder of a model's export, made once."""
    made = {}

    def folder(name, kind):
        if (name, kind) not in made:
            made[name, kind] = tmp_path_factory.mktemp(kind)
            export(checkpoint(name), made[name, kind], kind)
        return made[name, kind]

    return folder


# PyTorch


@pytest.mark.parametrize("name", [name for name in MODELS if name != "swinir"])  # needs padding
def test_the_two_modules_are_the_model(name):
    model = checkpoint(name).build()
    encoder, decoder = ExportedEncoder(model), ExportedDecoder(model, ["codes"])
    for before, size in SIZES:
        image = picture(*before)
        lr, coord, cell = tensors(image, size)
        with torch.no_grad():
            rgb = decoder(*encoder(lr), coord, cell)[0].view(*size, 3)
        assert np.abs(rgb.numpy() - reference(name, image, size)).max() < 1e-5


def test_a_saved_program_takes_any_size(exported):
    folder = exported("liif", "torch")
    encoder, decoder = (
        torch.export.load(folder / f"{name}.pt2").module() for name in ("encoder", "decoder")
    )
    for before, size in SIZES:
        image = picture(*before)
        lr, coord, cell = tensors(image, size)
        rgb = decoder(*encoder(lr), coord, cell)[0].view(*size, 3)
        assert np.abs(rgb.detach().numpy() - reference("liif", image, size)).max() < PARITY


@pytest.mark.parametrize("name", ["liif", slow("metasr")])
def test_graphs_hold_pytorchs_own_operators_only(name):
    for graph in graphs(checkpoint(name).build()).values():
        targets = [node.target for node in graph.program.graph.nodes if "call" in node.op]
        named = {str(target) for target in targets if isinstance(target, torch._ops.OpOverload)}
        assert named and all(name.startswith("aten.") for name in named)
        others = {t.__module__ for t in targets if not isinstance(t, torch._ops.OpOverload)}
        assert others <= {"_operator", "torch", "torch.fx.experimental.sym_node"}  # of sizes


@pytest.mark.slow  # the first export of a process takes seconds
def test_windows_are_joined_by_traceable_sizes():
    """A root of a traced size cannot be saved in a program."""
    x = torch.rand(1, 6, 9, 2)
    traced = torch.export.export(
        Rejoined(), (x,), dynamic_shapes=({1: 3 * Dim("h"), 2: 3 * Dim("w")},), strict=False
    )
    torch.export.save(traced, io.BytesIO())
    other = torch.rand(1, 9, 6, 2)
    assert torch.equal(traced.module()(other), other)


class Rejoined(torch.nn.Module):
    def forward(self, x):
        return from_windows(to_windows(x, 3), 3, *x.shape[1:3])


# ONNX


@pytest.fixture(scope="session")
def runner():
    """examples/onnx_upscale.py."""
    pytest.importorskip("onnxscript", reason='needs pip install "liif[export]"')
    pytest.importorskip("onnxruntime", reason='needs pip install "liif[export]"')
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import onnx_upscale
    finally:
        sys.path.pop(0)
    return onnx_upscale


@pytest.fixture(scope="session")
def opened(runner, exported):
    """The runner's sessions of a model."""
    made = {}

    def sessions(name):
        if name not in made:
            made[name] = runner.load(exported(name, "onnx"))
        return made[name]

    return sessions


@pytest.mark.parametrize("name", ["liif", slow("swinir")])
@pytest.mark.parametrize(("before", "size"), SIZES)
def test_the_runner_draws_the_same_picture(runner, opened, name, before, size):
    image = picture(*before)
    strips = list(runner.strips(opened(name), image, size))
    assert [row for row, _ in strips] == [0]
    assert np.abs(strips[0][1] - reference(name, image, size)).max() < PARITY


@pytest.mark.parametrize("name", ["liif", slow("metasr")])
@pytest.mark.parametrize(("before", "size"), [((45, 50), (101, 77)), ((40, 41), (9, 123))])
def test_tiles_make_no_difference(runner, opened, monkeypatch, name, before, size):
    monkeypatch.setattr(runner, "QUERIES", 500)
    image = picture(*before)
    strips = list(runner.strips(opened(name), image, size, 11))
    assert len(strips) == -(-before[0] // 11)
    rows = np.cumsum([0, *(len(strip) for _, strip in strips)])
    assert [row for row, _ in strips] == rows[:-1].tolist()
    made = np.concatenate([strip for _, strip in strips])
    assert made.shape == (*size, 3)
    assert np.abs(made - reference(name, image, size)).max() < PARITY


def test_more_tiles_than_pixels(runner, opened):
    image = picture(40, 40)
    made = np.concatenate([strip for _, strip in runner.strips(opened("liif"), image, (2, 3), 8)])
    assert np.abs(made - reference("liif", image, (2, 3))).max() < PARITY


def test_onnx_files_hold_standard_operators_and_open_sizes(runner, exported):
    import onnx

    shapes = {}
    for name in ("encoder", "decoder"):
        model = onnx.load(exported("liif", "onnx") / f"{name}.onnx")
        onnx.checker.check_model(model, full_check=True)
        assert {node.domain for node in model.graph.node} == {""} and not model.functions
        assert {opset.domain for opset in model.opset_import} == {""}
        for value in (*model.graph.input, *model.graph.output):
            dims = value.type.tensor_type.shape.dim
            shapes[name, value.name] = [d.dim_value or None for d in dims]
    assert shapes["encoder", "image"] == [None, 3, None, None]
    assert shapes["encoder", "codes"] == shapes["decoder", "codes"] == [None, None, None, 16]
    assert shapes["decoder", "coord"] == [None, 2] and shapes["decoder", "cell"] == [1, 2]
    assert shapes["decoder", "rgb"] == [None, None, 3]


def test_the_runner_needs_no_pytorch(runner, exported, tmp_path):
    Image.fromarray(texture(20, 30)).save(tmp_path / "small.png")
    hidden = "import sys, runpy\nsys.modules['torch'] = sys.modules['liif'] = None\n"
    script = f"{hidden}sys.argv[:] = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = [ROOT / "examples" / "onnx_upscale.py", exported("liif", "onnx")]
    arguments += [tmp_path / "small.png", tmp_path / "large.png", "--scale", "2.3", "--tile", "16"]
    processes.run([sys.executable, "-c", script, *map(str, arguments)], check=True, timeout=100)
    large = np.asarray(Image.open(tmp_path / "large.png")).astype(int)
    expected = reference("liif", picture(20, 30), (46, 69)).clip(0, 1) * 255
    assert large.shape == (46, 69, 3)
    assert np.abs(large - expected).max() < 0.51


@pytest.mark.parametrize("precision", ["float32", slow("fp16")])
def test_graphs_take_batches(runner, tmp_path, precision):
    export(checkpoint("liif"), tmp_path, "onnx", precision)
    model = runner.load(tmp_path)
    images = [picture(9, 11), picture(9, 11)[::-1]]
    batch = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
    _, coord, cell = (each.numpy() for each in tensors(images[0], (13, 20)))
    codes = runner.outputs(model.encoder, {"image": batch})["codes"]
    inputs = {"codes": codes, "coord": coord, "cell": cell}
    rgb = runner.outputs(model.decoder, inputs)["rgb"].reshape(2, 13, 20, 3)
    assert rgb.dtype == np.float32
    assert codes.dtype == (np.float16 if precision == "fp16" else np.float32)
    most = 2e-3 if precision == "fp16" else PARITY
    for image, found in zip(images, rgb, strict=True):
        assert np.abs(found - reference("liif", np.ascontiguousarray(image), (13, 20))).max() < most


@pytest.mark.parametrize("bits", [8, 16])
def test_the_runner_keeps_the_bits_of_gray(runner, exported, tmp_path, monkeypatch, bits):
    gray = texture(9, 11)[..., 0].astype(np.uint16 if bits == 16 else np.uint8)
    gray = gray * np.uint16(257) if bits == 16 else gray
    Image.fromarray(gray).save(tmp_path / "small.png")
    arguments = ["x", exported("liif", "onnx"), tmp_path / "small.png", tmp_path / "large.png"]
    monkeypatch.setattr(sys, "argv", [*map(str, arguments), "--scale", "1.5"])
    runner.main()
    large = np.asarray(Image.open(tmp_path / "large.png")).astype(float)
    white = 2**bits - 1
    image = np.repeat(gray[..., None].astype(np.float32) / white, 3, axis=2)
    expected = reference("liif", image, (14, 16)).clip(0, 1)
    if bits == 16:
        assert large.shape == (14, 16)
        expected = expected.mean(axis=2)
    assert np.abs(large / white - expected).max() < 0.6 / white + PARITY / 10


# The command


def test_the_command_writes_three_files(cli, tmp_path, tiny_checkpoint):
    out = tmp_path / "new" / "folder"
    status, _, err = cli("export", tiny_checkpoint, "--format", "torch", "--out", out)
    assert status == 0 and err.count("wrote") == 3
    assert {file.name for file in out.iterdir()} == {"encoder.pt2", "decoder.pt2", "model.json"}
    about = json.loads((out / "model.json").read_text())
    assert about.pop("halo") == 6  # the head, a block of two, the last convolution, unfolding, 1
    config = ModelConfig.model_validate(about.pop("model"))
    assert config == ModelConfig.model_validate(TINY)
    assert about.pop("precision") == "float32"
    assert about == {
        "format": "liif-export/2", "encoder": "encoder.pt2", "decoder": "decoder.pt2", "window": 1,
    }  # fmt: skip


def unknown_operator(graph):
    """Fails as PyTorch does, with the reason at the end of a chain and further lines."""
    try:
        raise NotImplementedError("an operator:\nno such one")
    except NotImplementedError as error:
        raise RuntimeError("Failed to convert\n## Exception summary") from error


def test_what_cannot_be_exported_is_told(refused, tmp_path, tiny_checkpoint, monkeypatch):
    config = ModelConfig.model_validate({**TINY, "decoder": {"name": "upsampler", "scale": 2}})
    save_checkpoint(tmp_path / "x2.pt", config, build_model(config).state_dict())
    out = ["--out", tmp_path / "out"]
    assert "a network for one scale" in refused("export", tmp_path / "x2.pt", *out)
    assert "no.pt: no such checkpoint file" in refused("export", "no.pt", *out)
    (tmp_path / "file").write_text("")
    onto_a_file = refused("export", tiny_checkpoint, "--out", tmp_path / "file")
    assert "its folder is a file" in onto_a_file
    cascade = {"name": "clit", **ClitConfig.SMALL, "stages": 2}
    config = ModelConfig.model_validate({**TINY, "decoder": cascade})
    save_checkpoint(tmp_path / "clit.pt", config, build_model(config).state_dict())
    assert "Clit of several stages cannot be exported" in refused(
        "export", tmp_path / "clit.pt", *out
    )
    with monkeypatch.context() as patch:
        patch.setitem(export_module.FORMATS, "torch", (".pt2", unknown_operator))
        patch.setattr(export_module, "graphs", lambda model: {"encoder": None})
        message = refused("export", tiny_checkpoint, "--format", "torch", *out).strip()
    assert "cannot be written as torch by PyTorch" in message and message.endswith("no such one")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert 'pip install "liif[export]"' in refused("export", tiny_checkpoint, *out)
    assert list((tmp_path / "out").iterdir()) == []
