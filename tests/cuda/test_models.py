"""Every encoder and every decoder computes on a GPU what it computes on a CPU."""

import copy

import pytest
import torch
from helpers.gpu import assert_alike, count_waits
from helpers.small_models import every_model, small

from liif.models import tiling
from liif.models.geometry import cell_of, grid_coord, pixel_centres
from liif.models.precision import tf32_context

pytestmark = pytest.mark.gpu


@every_model
def test_an_image_whole_in_tiles_and_point_by_point(encoder, decoder, device, monkeypatch):
    """An image on the GPU waits once for its range, and for the means over all points that some
    decoders have: they are added up on the host in float64 and sent back, however many blocks there
    are."""
    monkeypatch.setattr(tiling, "block_side", lambda *_: 32)
    plain = small(encoder, decoder).eval()
    model = copy.deepcopy(plain).to(device)
    torch.manual_seed(0)
    lr, size = torch.rand(1, 3, 6, 40), (8, 51)
    expected, there = plain.upscale(lr, size, clamp=False), lr.to(device)
    model.upscale(there[..., :4], size=(2, 3))  # chooses the decoder's kernel, which is timed
    with count_waits() as waits:
        found = model.upscale(there, size, clamp=False)
    assert len(waits) <= (6 if model.decoder.has_statistics else 1), waits
    assert found.device == device and found.dtype == torch.float32
    assert_alike(found, expected)
    assert_alike(model.upscale(lr, size, clamp=False, memory=1), expected)
    y, x = (pixel_centres(n, model.mean) for n in size)
    coord, cell = grid_coord(y, x)[None], cell_of(size, model.mean)
    with torch.inference_mode(), tf32_context(device, "float32"):
        points = model(there, coord, cell)
    assert_alike(points.transpose(1, 2).view(1, 3, *size), expected)


@every_model
def test_gradients(encoder, decoder, device):
    plain = small(encoder, decoder).train()
    model = copy.deepcopy(plain).to(device)
    torch.manual_seed(0)
    shapes = (2, 3, 8, 9), (2, 20, 2), (2, 20, 3)
    lr, coord, target = (torch.rand(shape) for shape in shapes)
    inputs = [lr, coord * 2 - 1, torch.full((2, 2), 0.1), target]

    def backward(model, lr, coord, cell, target):
        (model(lr, coord, cell) - target).abs().mean().backward()

    backward(plain, *inputs)
    there = [x.to(device) for x in inputs]
    with count_waits() as waits, tf32_context(device, "float32"):
        backward(model, *there)
    assert not waits
    found = {name: p.grad for name, p in model.named_parameters()}
    expected = {name: p.grad for name, p in plain.named_parameters()}
    largest = max(float(g.abs().max()) for g in expected.values() if g is not None)
    for name, gradient in expected.items():
        if gradient is None:
            assert found[name] is None
        else:
            assert found[name].device == device
            assert_alike(found[name], gradient, scale=largest)


@pytest.mark.parametrize("decoder", ["liif", "lte", "metasr", "thera", "ciaosr"])
@pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32"])
def test_lower_precision_is_near(decoder, precision, device):
    model = small(decoder=decoder).eval()
    torch.manual_seed(0)
    lr, size = torch.rand(2, 3, 9, 11), (25, 31)
    expected = model.upscale(lr, size, clamp=False)
    found = model.to(device).upscale(lr.to(device), size, clamp=False, precision=precision)
    assert found.dtype == torch.float32
    assert_alike(found, expected, limit=0.1)


def test_a_window(device):
    plain = small().eval()
    model = copy.deepcopy(plain).to(device)
    torch.manual_seed(0)
    lr, window, size = torch.rand(3, 20, 24), (3.5, 4.25, 8, 9), (30, 41)
    expected = plain.upscale(lr, size, window=window, clamp=False)
    assert_alike(model.upscale(lr, size, window=window, clamp=False), expected)


def test_a_result_is_where_the_image_was(device):
    model = small().eval().to(device)
    assert model.upscale(torch.rand(3, 9, 11), scale=2).device.type == "cpu"
    assert model.upscale(torch.rand(3, 9, 11, device=device), scale=2).device == device


def test_the_second_gpu():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    plain, lr = small().eval(), torch.rand(3, 9, 11)
    model = copy.deepcopy(plain).to("cuda:1")
    found = model.upscale(lr.to("cuda:1"), (25, 31), clamp=False)
    assert found.device.index == 1
    assert_alike(found, plain.upscale(lr, (25, 31), clamp=False))
