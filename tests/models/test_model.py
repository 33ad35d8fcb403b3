"""SRModel: inputs, cells, types, seeds, precision."""

import copy

import pytest
import torch
from helpers.small_models import small


def test_cell_may_be_given_per_image_or_per_query():
    model = small().eval()
    lr, coord = torch.rand(2, 3, 5, 6), torch.rand(2, 30, 2) * 2 - 1
    cell = torch.tensor([[0.1, 0.2], [0.3, 0.05]])
    with torch.inference_mode():
        field = model.encode(lr)
        per_query = model.query(field, coord, cell[:, None].expand(-1, 30, -1))
        torch.testing.assert_close(model.query(field, coord, cell), per_query)
        torch.testing.assert_close(model.query(field, coord, cell[:, None]), per_query)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_float_types(dtype):
    model = small().eval()
    lr = torch.rand(3, 8, 9)
    expected = model.upscale(lr, scale=2.5)
    found = copy.deepcopy(model).to(dtype).upscale(lr.to(dtype), scale=2.5)
    assert found.dtype == dtype and found.shape == (3, 20, 22)
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0)


def test_clamp_and_batch():
    model = small().eval()
    model.decoder.mlp.layers[-1].bias.data += torch.tensor([5.0, -5.0, 0.0])
    lr = torch.rand(2, 3, 6, 7)
    out = model.upscale(lr, (11, 12))
    assert out.shape == (2, 3, 11, 12) and out.min() == 0 and out.max() == 1
    raw = model.upscale(lr, (11, 12), clamp=False)
    assert raw.max() > 2 and torch.equal(raw.clamp(0, 1), out)
    torch.testing.assert_close(model.upscale(lr[1], (11, 12)), out[1])


@pytest.mark.parametrize(
    "lr", [torch.rand(4, 8, 8), torch.rand(8, 8), torch.rand(3, 0, 4), torch.rand(1, 1, 3, 4, 4)]
)
def test_what_is_not_an_image(lr):
    with pytest.raises(ValueError, match="shape"):
        small().upscale(lr, scale=2)


def test_the_seed_decides_the_weights():
    a, b, c = small(seed=1), small(seed=1), small(seed=2)
    state = torch.get_rng_state()
    for key, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[key])
    assert not torch.equal(a.encoder.head[0].weight, c.encoder.head[0].weight)
    small(seed=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_bf16_is_close_and_does_not_outlive_the_call():
    model = small().eval()
    lr = torch.rand(2, 3, 40, 50)
    expected = model.upscale(lr, (90, 77), clamp=False)
    strips = model.strips(lr, (90, 77), precision="bf16!", memory=1)
    first, part = next(strips)
    assert not torch.is_autocast_enabled("cpu")  # between strips the caller's code runs
    rest = [strip for _, strip in strips]
    found = torch.cat([part, *rest], dim=2)
    assert first == 0 and found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert (found - expected).abs().max() < 0.01
    torch.testing.assert_close(model.upscale(lr, (90, 77), precision="bf16!"), found.clamp(0, 1))
