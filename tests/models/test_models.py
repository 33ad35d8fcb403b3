"""What every encoder and every decoder must do; the lists are those of `liif.models.build`."""

import copy

import pytest
import torch
from helpers.small_models import (
    every_decoder,
    every_encoder,
    every_model,
    every_pair,
    small,
    small_config,
)
from torch.overrides import TorchFunctionMode

from liif.core.errors import UserError
from liif.core.sizes import Window
from liif.data.loader import Batch
from liif.hub.export import graphs
from liif.models import reference
from liif.models.checkpoint import load_checkpoint, save_checkpoint, save_weights
from liif.models.geometry import cell_of, grid_coord, pixel_centres
from liif.training.step import train_step


@every_model
def test_one_step_reaches_every_parameter(encoder, decoder):
    model = small(encoder, decoder).train()
    before = copy.deepcopy(model.state_dict())
    batch = Batch(
        torch.rand(2, 3, 9, 7), torch.rand(2, 40, 2) * 2 - 1, torch.rand(2, 2), torch.rand(2, 40, 3)
    )
    optimizer = torch.optim.Adam(model.parameters())
    loss, norm, *_ = train_step(model, optimizer, batch, learning_rate=1e-3)
    assert 0 < loss < 10 and norm > 0
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
        assert not torch.equal(parameter, before[name]), name


@every_pair
def test_every_encoder_serves_every_decoder(encoder, decoder):
    """Three steps, then a whole image in one piece, in tiles, in bfloat16, and a window of it."""
    model = small(encoder, decoder).train()
    torch.manual_seed(0)
    batch = Batch(
        torch.rand(2, 3, 9, 7), torch.rand(2, 40, 2) * 2 - 1, torch.rand(2, 2), torch.rand(2, 40, 3)
    )
    optimizer = torch.optim.Adam(model.parameters())
    losses = [train_step(model, optimizer, batch, learning_rate=1e-4).loss for _ in range(3)]
    assert losses[2] < losses[0]
    lr, size = torch.rand(1, 3, 36, 17), (72, 51)
    whole = model.eval().upscale(lr, size)
    tiled = torch.cat([strip for _, strip in model.strips(lr, size, memory=1)], dim=2)
    torch.testing.assert_close(tiled.clamp(0, 1), whole, atol=1e-5, rtol=0)
    part = model.upscale(lr, (20, 30), window=Window(12, 5, 10, 10))
    torch.testing.assert_close(part, whole[..., 24:44, 15:45], atol=1e-4, rtol=0)
    assert (model.upscale(lr, size, precision="bf16!") - whole).abs().mean() < 0.01


@every_model
@pytest.mark.parametrize("size", [(31, 50), (12, 7), (1, 1), (26, 36)])
def test_whole_images_are_their_points(encoder, decoder, size):
    model = small(encoder, decoder).eval()
    lr = torch.rand(2, 3, 13, 18)
    whole = model.upscale(lr, size, clamp=False)
    y, x = pixel_centres(size[0], lr), pixel_centres(size[1], lr)
    with torch.inference_mode():
        coord = grid_coord(y, x).expand(2, -1, -1)
        points = model(lr, coord, cell_of(size, lr).expand(2, 2))
    points = points.transpose(1, 2).unflatten(2, size)
    torch.testing.assert_close(whole, points, atol=1e-5, rtol=0)


@every_model
def test_tiles_agree_with_the_whole(encoder, decoder):
    """The halo covers the receptive field: the proof is that nothing outside a tile is missed."""
    model = small(encoder, decoder).eval()
    for parameter in model.encoder.parameters():  # so that far pixels matter
        parameter.data *= 1.3
    lr = torch.rand(1, 3, 75, 36)
    size = (101, 83)
    whole = model.upscale(lr, size, clamp=False, memory=2**40)
    strips = list(model.strips(lr, size, memory=1))
    if model.halo is not None:
        assert len(strips) == 3 and [top for top, _ in strips] == [0, 33, 67]
    tiled = torch.cat([strip for _, strip in strips], dim=2)[0]
    torch.testing.assert_close(tiled, whole[0], atol=1e-5 * max(1, whole.abs().max()), rtol=0)


@every_encoder
def test_radius_is_the_receptive_field(encoder):
    """An input pixel changes the feature map up to the radius, and no farther."""
    model = small(encoder).encoder.eval().double()
    if model.radius is None:
        pytest.skip("an encoder of whole images")
    for name, parameter in model.named_parameters():
        # All positive, so that no ReLU cuts a path; no bias, so that zero gives exactly zero.
        parameter.data = parameter.data.abs() * (not name.endswith("bias"))
    radius = model.radius
    n = model.window
    reached = []
    for place in range(radius + 4, radius + 4 + n):  # every place in a window
        spot = torch.zeros(1, 3, 3 * n, -(-(2 * radius + 9 + n) // n) * n, dtype=torch.double)
        spot[0, :, n, place] = 1
        with torch.inference_mode():
            changed = model(spot).amax(dim=(0, 1, 2)).nonzero().flatten()
        reached += [place - int(changed.min()), int(changed.max()) - place]
    assert max(reached) == radius if n == 1 else max(reached) <= radius


@every_model
def test_the_reference_serves_every_model(encoder, decoder):
    model = small(encoder, decoder).eval()
    lr = torch.rand(3, 9, 8)
    expected = model.upscale(lr, (20, 29), clamp=False)
    torch.testing.assert_close(reference.upscale(model, lr, (20, 29)), expected, atol=1e-5, rtol=0)


@every_model
def test_nothing_is_kept_between_calls(encoder, decoder):
    model = small(encoder, decoder).eval()
    before = {name: set(vars(m)) for name, m in model.named_modules()}
    lr = torch.rand(3, 8, 9)
    first = model.upscale(lr, (20, 30))
    model.upscale(torch.rand(3, 5, 5), (9, 9))
    assert torch.equal(model.upscale(lr, (20, 30)), first)
    assert {name: set(vars(m)) for name, m in model.named_modules()} == before


@every_model
def test_a_saved_model_loads_equal(encoder, decoder, tmp_path):
    config, model = small_config(encoder, decoder), small(encoder, decoder).eval()
    save_checkpoint(tmp_path / "a.pt", config, model.state_dict())
    save_weights(tmp_path / "a.safetensors", config, model.state_dict())
    expected = model.upscale(
        torch.rand(3, 6, 7, generator=torch.Generator().manual_seed(0)), scale=2.5
    )
    for name in ("a.pt", "a.safetensors"):
        loaded = load_checkpoint(tmp_path / name)
        lr = torch.rand(3, 6, 7, generator=torch.Generator().manual_seed(0))
        assert torch.equal(loaded.upscale(lr, scale=2.5), expected)


@pytest.mark.slow
@every_decoder
def test_export_gives_the_same_colours(decoder):
    model = small(decoder=decoder).eval()
    try:
        programs = graphs(model)
    except UserError as error:
        pytest.skip(str(error))
    lr, coord, cell = torch.rand(1, 3, 9, 8), torch.rand(30, 2) * 2 - 1, torch.full((1, 2), 0.1)
    with torch.no_grad():
        field = programs["encoder"].program.module()(lr)
        if "binder" in programs:
            field = programs["binder"].program.module()(*field, cell)
        (found,) = programs["decoder"].program.module()(*field, coord, cell)
        expected = model(lr, coord[None], cell[None])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


class NoCopies(TorchFunctionMode):
    """Fails where a tensor is made from Python numbers: on a GPU, that waits for a copy."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        assert function.__name__ not in ("new_tensor", "tensor", "as_tensor", "from_numpy")
        return function(*args, **kwargs or {})


@every_model
def test_no_query_copies_numbers_to_the_device(encoder, decoder):
    model = small(encoder, decoder)
    lr, coord, cell = torch.rand(1, 3, 6, 7), torch.rand(1, 30, 2), torch.rand(1, 2)
    with NoCopies():
        model(lr, coord, cell).sum().backward()
        list(model.strips(lr, (20, 30)))
