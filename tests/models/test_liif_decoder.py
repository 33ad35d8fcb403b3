"""LIIF's decoder beside the published formula, with every combination of its parts."""

import pytest
import torch
from helpers.small_models import small

from liif.models import reference
from liif.models.build import ModelConfig, build_model
from liif.models.geometry import cell_of, pixel_centres

ABLATIONS = [
    {"local_ensemble": e, "feature_unfold": u, "cell_decode": c}
    for e in (True, False)
    for u in (True, False)
    for c in (True, False)
]


@pytest.mark.parametrize("switches", ABLATIONS, ids=str)
def test_the_folded_first_layer_is_the_published_formula(switches):
    model = small(**switches).eval()
    lr = torch.rand(2, 3, 7, 11)
    coord = torch.rand(2, 200, 2) * 2 - 1
    cell = torch.rand(2, 200, 2)
    with torch.inference_mode():
        expected = reference.forward(model, lr, coord, cell)
        found = model.query(model.encode(lr), coord, cell)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("hidden", [[], [5], [8, 8, 8, 8, 8]])
def test_any_list_of_hidden_layers(hidden):
    model = small(hidden=hidden).eval()
    assert len(model.decoder.mlp.layers) == 2 * len(hidden) + 1
    lr = torch.rand(1, 3, 6, 5)
    coord, cell = torch.rand(1, 50, 2) * 2 - 1, torch.full((1, 50, 2), 0.1)
    with torch.inference_mode():
        torch.testing.assert_close(
            model(lr, coord, cell), reference.forward(model, lr, coord, cell)
        )


def test_default_decoder_has_the_published_shapes():
    config = ModelConfig(encoder={"name": "edsr-baseline"}, decoder={"name": "liif"})
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in build_model(config).state_dict().items()}
    assert shapes["decoder.mlp.layers.0.weight"] == (256, 580)
    assert shapes["decoder.mlp.layers.8.weight"] == (3, 256)
    assert sum(torch.Size(s).numel() for s in shapes.values()) == 1_220_416 + 346_883


def test_ensemble_turns_with_the_image():
    """An MLP that sees neither direction nor neighbours: mirrored or transposed codes give the
    mirrored or transposed image, also where height and width differ."""
    model = small(hidden=[16], feature_unfold=False).eval()
    model.decoder.mlp.linear[0].weight.data[:, 8:10] = 0  # ignore the offset's sign
    feat = torch.rand(1, 8, 5, 9)
    y, x = pixel_centres(13, feat), pixel_centres(20, feat)
    cell = cell_of((13, 20), feat)
    with torch.inference_mode():
        plain = model.decoder.query_grid(model.decoder.prepare(feat, feat), y, x, cell)
        flipped = model.decoder.query_grid(
            model.decoder.prepare(feat.flip(2, 3), feat), y, x, cell
        ).flip(1, 2)
    torch.testing.assert_close(plain, flipped, atol=1e-4, rtol=0)
    cell_free = small(hidden=[16], feature_unfold=False, cell_decode=False).decoder.eval()
    cell_free.mlp.linear[0].weight.data[:, 8:10] = 0
    with torch.inference_mode():
        plain = cell_free.query_grid(cell_free.prepare(feat, feat), y, x, cell)
        turned = cell_free.query_grid(
            cell_free.prepare(feat.transpose(2, 3), feat), x, y, cell
        ).transpose(1, 2)
    torch.testing.assert_close(plain, turned, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(31, 50), (9, 61), (5, 4), (1, 1)], ids=str)
@pytest.mark.parametrize("switches", ABLATIONS, ids=str)
def test_the_fast_path_is_the_published_formula(switches, size):
    """Odd sizes, other scales along each axis, a batch: whole images as published, pixel by
    pixel."""
    model = small(**switches).eval()
    lr = torch.rand(2, 3, 7, 11)
    found = model.upscale(lr, size, clamp=False)
    expected = torch.stack([reference.upscale(model, image, size) for image in lr])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    rough = model.upscale(lr, size, clamp=False, precision="bf16!")
    assert (rough - expected).abs().max() < 0.02
