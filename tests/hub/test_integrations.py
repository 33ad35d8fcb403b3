"""Adapters in integrations/, by the interfaces of the programs that load them."""

import runpy
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from helpers.models import TINY
from helpers.paths import ROOT
from helpers.pictures import texture
from PIL import Image

import liif
from liif.models.build import ModelConfig
from liif.models.checkpoint import save_official, save_weights

COMFYUI = ROOT / "integrations" / "comfyui_liif.py"


def test_the_node_of_comfyui(tiny_checkpoint):
    """As ComfyUI does: the mappings of the module, the inputs, and the function by its name."""
    module = runpy.run_path(str(COMFYUI))
    ((name, node),) = module["NODE_CLASS_MAPPINGS"].items()
    assert module["NODE_DISPLAY_NAME_MAPPINGS"].keys() == {name}
    assert node.RETURN_TYPES == ("IMAGE",) and isinstance(node.CATEGORY, str)
    inputs = node.INPUT_TYPES()["required"]
    assert inputs["scale"][0] == "FLOAT" and inputs["model"][1]["default"] == "lite"
    values = {"image": torch.rand(2, 6, 7, 3), "model": str(tiny_checkpoint), "scale": 2.5}
    assert values.keys() == inputs.keys()
    (found,) = getattr(node(), node.FUNCTION)(**values)
    lr = values["image"].permute(0, 3, 1, 2)
    expected = liif.load(tiny_checkpoint).upscale(lr, scale=2.5).permute(0, 2, 3, 1)
    assert found.shape == (2, 15, 18, 3) and torch.equal(found, expected)


def test_adapters_are_short():
    for file in (ROOT / "integrations").glob("*.py"):
        assert len(file.read_text().splitlines()) <= 100, file.name


def test_spandrel_loads_models_with_a_scale_of_any_number(tmp_path, tiny_checkpoint):
    """By its own loader: the official layout, and weights alone, by their shapes."""
    spandrel = pytest.importorskip("spandrel")
    module = runpy.run_path(str(ROOT / "integrations" / "spandrel_liif.py"))
    model, config = liif.load(tiny_checkpoint), ModelConfig.model_validate(TINY)
    save_official(tmp_path / "official.pth", config, model.state_dict())
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    save_weights(tmp_path / "weights.safetensors", config, model.state_dict())
    registry = spandrel.MAIN_REGISTRY.copy()
    module["add"](2.5, registry)
    lr = torch.rand(2, 3, 6, 7)
    expected = model.upscale(lr, scale=2.5)
    for name in ("official.pth", "weights.pth", "weights.safetensors"):
        descriptor = spandrel.ModelLoader(registry=registry).load_from_file(tmp_path / name)
        assert descriptor.architecture.name == "LIIF" and descriptor.scale == 2.5
        assert (descriptor.input_channels, descriptor.output_channels) == (3, 3)
        torch.testing.assert_close(descriptor(lr), expected)
    with pytest.raises(spandrel.UnsupportedModelError):
        spandrel.ModelLoader(registry=registry).load_from_state_dict({"encoder.a": lr})


def test_one_graph_for_chainner(tiny_checkpoint, tmp_path):
    """Whole images, of any size and in batches, as the model enlarges them."""
    onnxruntime = pytest.importorskip("onnxruntime")
    module = runpy.run_path(str(ROOT / "integrations" / "chainner_onnx.py"))
    model, file = liif.load(tiny_checkpoint), tmp_path / "x3.onnx"
    module["export"](model, 3, file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["input"]
    for shape in ((1, 3, 9, 8), (2, 3, 5, 13)):
        lr = torch.rand(shape)
        (found,) = session.run(None, {"input": lr.numpy()})
        expected = model.upscale(lr, scale=3)
        assert found.shape == expected.shape
        assert abs(found - expected.numpy()).max() < 1e-5


class PageError(Exception):
    pass


@pytest.fixture
def gradio(monkeypatch):
    """A stand-in for the module, which keeps the page and launches nothing."""
    module, pages = ModuleType("gradio"), []
    for name in ("Image", "Slider", "Dropdown"):
        setattr(module, name, lambda *args, **kwargs: (args, kwargs))
    module.Error = PageError

    class Interface:
        def __init__(self, function, inputs, output, **settings):
            self.function, self.inputs, self.settings = function, inputs, settings
            pages.append(self)

        def queue(self, **settings):
            self.settings |= settings

        def launch(self, **settings):
            self.settings |= settings

    module.Interface, module.pages = Interface, pages
    monkeypatch.setitem(sys.modules, "gradio", module)
    return module


def test_the_demo(gradio, cli, tiny_checkpoint):
    options = ("--checkpoint", f"small={tiny_checkpoint}", "--port", "7861", "--no-browser")
    status, _, err = cli("demo", *options)
    assert status == 0, err
    (page,) = gradio.pages
    assert page.inputs[2][0] == (["small"],)
    assert page.settings["server_port"] == 7861 and not page.settings["share"]
    picture = Image.fromarray(texture(6, 7, 0))
    found = page.function(picture, 2.5, "small")
    expected = liif.load(tiny_checkpoint).upscale(picture, size=(15, 18))
    assert found.size == (18, 15)
    assert abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 1
    with pytest.raises(PageError, match="choose a picture"):
        page.function(None, 4, "small")
    with pytest.raises(PageError, match="too many here; use a scale up to 1"):
        page.function(Image.new("RGB", (7000, 7000)), 4, "small")


def test_the_demo_without_gradio(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install 'liif[demo]'" in refused("demo")


def test_the_page_of_gradio_itself(tiny_checkpoint):
    gradio = pytest.importorskip("gradio")
    from liif.commands.demo import interface

    page = interface(gradio, {"small": liif.load(tiny_checkpoint)}, "float32")
    found = page.fn(Image.fromarray(texture(6, 7, 0)), 2, "small")
    assert found.size == (14, 12) and len(page.input_components) == 3
