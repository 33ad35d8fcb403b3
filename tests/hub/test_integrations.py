"""Adapters in integrations/, by the interfaces of the programs that load them."""

import runpy

import torch
from helpers.paths import ROOT

import liif

COMFYUI = ROOT / "integrations" / "comfyui_liif.py"


def test_the_node_of_comfyui(tiny_checkpoint):
    """As ComfyUI does: the mappings of the module, the inputs, and the function by its name."""
    module = runpy.run_path(str(COMFYUI))
    ((name, node),) = module["NODE_CLASS_MAPPINGS"].items()
    assert module["NODE_DISPLAY_NAME_MAPPINGS"].keys() == {name}
    assert node.RETURN_TYPES == ("IMAGE",) and isinstance(node.CATEGORY, str)
    inputs = node.INPUT_TYPES()["required"]
    assert inputs["scale"][0] == "FLOAT" and inputs["model"][1]["default"] == "edsr-light"
    values = {"image": torch.rand(2, 6, 7, 3), "model": str(tiny_checkpoint), "scale": 2.5}
    assert values.keys() == inputs.keys()
    (found,) = getattr(node(), node.FUNCTION)(**values)
    lr = values["image"].permute(0, 3, 1, 2)
    expected = liif.load(tiny_checkpoint).upscale(lr, scale=2.5).permute(0, 2, 3, 1)
    assert found.shape == (2, 15, 18, 3) and torch.equal(found, expected)


def test_adapters_are_short():
    for file in (ROOT / "integrations").glob("*.py"):
        assert len(file.read_text().splitlines()) <= 100, file.name


def test_the_descriptor_has_a_scale_of_any_number(tiny_checkpoint):
    module = runpy.run_path(str(ROOT / "integrations" / "spandrel_liif.py"))
    descriptor = module["LiifDescriptor"].load_from_file(tiny_checkpoint, scale=2.5).to("cpu")
    lr = torch.rand(2, 3, 6, 7)
    expected = liif.load(tiny_checkpoint).upscale(lr, scale=2.5)
    assert torch.equal(descriptor(lr), expected) and expected.shape == (2, 3, 15, 18)
    assert (descriptor.scale, descriptor.input_channels, descriptor.output_channels) == (2.5, 3, 3)
    assert descriptor.device == torch.device("cpu")
