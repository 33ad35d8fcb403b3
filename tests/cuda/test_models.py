"""Every encoder and every decoder computes on a GPU what it computes on a CPU."""

import copy

import pytest
import torch
from helpers.gpu import assert_alike
from helpers.small_models import every_model, small

from liif.models.geometry import cell_of, grid_coord, pixel_centres

pytestmark = pytest.mark.gpu


@every_model
def test_an_image_whole_in_tiles_and_point_by_point(encoder, decoder, device):
    plain = small(encoder, decoder).eval()
    model = copy.deepcopy(plain).to(device)
    torch.manual_seed(0)
    lr, size = torch.rand(1, 3, 10, 66), (13, 87)
    expected = plain.upscale(lr, size, clamp=False)
    found = model.upscale(lr.to(device), size, clamp=False)
    assert found.device == device and found.dtype == torch.float32
    assert_alike(found, expected)
    assert_alike(model.upscale(lr, size, clamp=False, memory=1), expected)
    y, x = (pixel_centres(n, model.mean) for n in size)
    coord, cell = grid_coord(y, x)[None], cell_of(size, model.mean)
    with torch.inference_mode():
        points = model(lr.to(device), coord, cell)
    assert_alike(points.transpose(1, 2).view(1, 3, *size), expected)


@every_model
def test_gradients(encoder, decoder, device):
    plain = small(encoder, decoder).train()
    model = copy.deepcopy(plain).to(device)
    torch.manual_seed(0)
    lr, coord, cell = torch.rand(2, 3, 8, 9), torch.rand(2, 40, 2) * 2 - 1, torch.full((2, 2), 0.1)
    target = torch.rand(2, 40, 3)
    for each in (plain, model):
        place = each.mean.device
        out = each(*(x.to(place) for x in (lr, coord, cell)))
        (out - target.to(place)).abs().mean().backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    expected = {name: p.grad for name, p in plain.named_parameters()}
    assert any(gradient is not None for gradient in expected.values())
    scale = max(float(g.abs().max()) for g in expected.values() if g is not None)
    for name, gradient in expected.items():
        if gradient is None:
            assert found[name] is None
        else:
            assert found[name].device == device
            assert_alike(found[name], gradient, scale=scale)


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
