"""Every encoder with every decoder: forward, backward, images, tiles, the published formula."""

import copy

import pytest
import torch

from liif.core.parallel import parallel_for
from liif.data.loader import Batch
from liif.models import reference, tiling
from liif.models.build import DECODERS, ENCODERS, ModelConfig, build_model
from liif.models.geometry import cell_of, grid_coord, pixel_centres
from liif.training.step import train_step

SMALL_ENCODERS = {
    "edsr-baseline": {"name": "edsr-baseline", "blocks": 2, "width": 8, "residual_scale": 0.5},
    "rdn": {"name": "rdn", "configuration": "A", "width": 4},
}
SMALL_DECODERS = {
    "liif": {"name": "liif", "hidden": [16, 12]},
    "metasr": {"name": "metasr", "hidden": 16},
    "upsampler": {"name": "upsampler", "scale": 3, "width": 6},
}
ABLATIONS = [
    {"local_ensemble": e, "feature_unfold": u, "cell_decode": c}
    for e in (True, False)
    for u in (True, False)
    for c in (True, False)
]


def small(encoder="edsr-baseline", decoder=None, seed=0):
    decoder = decoder or SMALL_DECODERS["liif"]
    config = ModelConfig(encoder=SMALL_ENCODERS[encoder], decoder=decoder)
    return build_model(config, seed=seed)


def test_the_small_ones_are_all_there_are():
    assert SMALL_ENCODERS.keys() == ENCODERS.keys()
    assert SMALL_DECODERS.keys() == DECODERS.keys()


everything = pytest.mark.parametrize(
    ("encoder", "decoder"), [(e, d) for e in SMALL_ENCODERS for d in SMALL_DECODERS]
)


@everything
def test_one_step_reaches_every_parameter(encoder, decoder):
    model = small(encoder, SMALL_DECODERS[decoder]).train()
    before = copy.deepcopy(model.state_dict())
    batch = Batch(
        torch.rand(2, 3, 9, 7), torch.rand(2, 40, 2) * 2 - 1, torch.rand(2, 2), torch.rand(2, 40, 3)
    )
    optimizer = torch.optim.Adam(model.parameters())
    loss, norm, _ = train_step(model, optimizer, batch, learning_rate=1e-3)
    assert 0 < loss < 10 and norm > 0
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
        assert not torch.equal(parameter, before[name]), name


@everything
@pytest.mark.parametrize("size", [(31, 50), (12, 7), (1, 1), (26, 36)])
def test_whole_images_are_their_points(encoder, decoder, size):
    model = small(encoder, SMALL_DECODERS[decoder]).eval()
    lr = torch.rand(2, 3, 13, 18)
    whole = model.upscale(lr, size, clamp=False)
    y, x = pixel_centres(size[0], lr), pixel_centres(size[1], lr)
    with torch.inference_mode():
        coord = grid_coord(y, x).expand(2, -1, -1)
        points = model(lr, coord, cell_of(size, lr).expand(2, 2))
    points = points.transpose(1, 2).unflatten(2, size)
    torch.testing.assert_close(whole, points, atol=1e-5, rtol=0)


@everything
def test_tiles_agree_with_the_whole(encoder, decoder):
    """The halo covers the receptive field: the proof is that nothing outside a tile is missed."""
    model = small(encoder, SMALL_DECODERS[decoder]).eval()
    for parameter in model.encoder.parameters():  # so that far pixels have a say
        parameter.data *= 1.3
    lr = torch.rand(1, 3, 75, 70)
    size = (101, 163)
    whole = model.upscale(lr, size, clamp=False, memory=2**40)
    strips = list(model.strips(lr, size, memory=1))
    assert len(strips) == 3 and [top for top, _ in strips] == [0, 33, 67]
    tiled = torch.cat([strip for _, strip in strips], dim=2)[0]
    torch.testing.assert_close(tiled, whole[0], atol=1e-5 * max(1, whole.abs().max()), rtol=0)


@pytest.mark.parametrize("encoder", SMALL_ENCODERS)
def test_radius_is_the_receptive_field(encoder):
    """An input pixel changes the feature map up to the radius, and no farther."""
    model = small(encoder).encoder.eval().double()
    for name, parameter in model.named_parameters():
        # All positive, so that no ReLU cuts a path; no bias, so that zero gives exactly zero.
        parameter.data = parameter.data.abs() * (not name.endswith("bias"))
    radius = model.radius
    spot = torch.zeros(1, 3, 3, 2 * radius + 9, dtype=torch.double)
    spot[0, :, 1, radius + 4] = 1
    with torch.inference_mode():
        changed = model(spot).amax(dim=(0, 1, 2)).nonzero().flatten()
    assert (changed.min(), changed.max()) == (4, 2 * radius + 4)


@pytest.mark.parametrize("switches", ABLATIONS, ids=str)
def test_the_folded_first_layer_is_the_published_formula(switches):
    model = small(decoder={**SMALL_DECODERS["liif"], **switches}).eval()
    lr = torch.rand(2, 3, 7, 11)
    coord = torch.rand(2, 200, 2) * 2 - 1
    cell = torch.rand(2, 200, 2)
    with torch.inference_mode():
        expected = reference.forward(model, lr, coord, cell)
        found = model.query(model.encode(lr), coord, cell)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("hidden", [[], [5], [8, 8, 8, 8, 8]])
def test_any_list_of_hidden_layers(hidden):
    model = small(decoder={"name": "liif", "hidden": hidden}).eval()
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
    model = small(decoder={"name": "liif", "hidden": [16], "feature_unfold": False}).eval()
    model.decoder.mlp.linear[0].weight.data[:, 8:10] = 0  # no say for the offset's sign
    feat = torch.rand(1, 8, 5, 9)
    y, x = pixel_centres(13, feat), pixel_centres(20, feat)
    cell = cell_of((13, 20), feat)
    with torch.inference_mode():
        plain = model.decoder.query_grid(model.decoder.prepare(feat, feat), y, x, cell)
        flipped = model.decoder.query_grid(
            model.decoder.prepare(feat.flip(2, 3), feat), y, x, cell
        ).flip(1, 2)
    torch.testing.assert_close(plain, flipped, atol=1e-4, rtol=0)
    cell_free = small(
        decoder={"name": "liif", "hidden": [16], "feature_unfold": False, "cell_decode": False}
    ).decoder.eval()
    cell_free.mlp.linear[0].weight.data[:, 8:10] = 0
    with torch.inference_mode():
        plain = cell_free.query_grid(cell_free.prepare(feat, feat), y, x, cell)
        turned = cell_free.query_grid(
            cell_free.prepare(feat.transpose(2, 3), feat), x, y, cell
        ).transpose(1, 2)
    torch.testing.assert_close(plain, turned, atol=1e-6, rtol=0)


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


def test_nothing_is_kept_between_calls():
    model = small().eval()
    before = {name: set(vars(m)) for name, m in model.named_modules()}
    lr = torch.rand(3, 8, 9)
    first = model.upscale(lr, (20, 30))
    model.upscale(torch.rand(3, 5, 5), (9, 9))
    assert torch.equal(model.upscale(lr, (20, 30)), first)
    assert {name: set(vars(m)) for name, m in model.named_modules()} == before


def test_clamp_and_batch():
    model = small().eval()
    model.decoder.mlp.layers[-1].bias.data += torch.tensor([5.0, -5.0, 0.0])
    lr = torch.rand(2, 3, 6, 7)
    out = model.upscale(lr, (11, 12))
    assert out.shape == (2, 3, 11, 12) and out.min() == 0 and out.max() == 1
    raw = model.upscale(lr, (11, 12), clamp=False)
    assert raw.max() > 2 and torch.equal(raw.clamp(0, 1), out)
    torch.testing.assert_close(model.upscale(lr[1], (11, 12)), out[1])


def test_blocks_do_not_show(monkeypatch):
    model = small().eval()
    lr = torch.rand(3, 9, 14)
    expected = model.upscale(lr, (33, 47))
    for side in (1, 5, 20, 47):
        monkeypatch.setitem(tiling.BLOCK_SIDES, torch.float32, side)
        torch.testing.assert_close(model.upscale(lr, (33, 47)), expected)


@pytest.mark.parametrize("size", [(31, 50), (9, 61), (5, 4), (1, 1)], ids=str)
@pytest.mark.parametrize("switches", ABLATIONS, ids=str)
def test_the_fast_path_is_the_published_formula(switches, size):
    """Odd sizes, other scales along each axis, a batch: whole images as published, pixel by
    pixel."""
    model = small(decoder={**SMALL_DECODERS["liif"], **switches}).eval()
    lr = torch.rand(2, 3, 7, 11)
    found = model.upscale(lr, size, clamp=False)
    expected = torch.stack([reference.upscale(model, image, size) for image in lr])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    rough = model.upscale(lr, size, clamp=False, precision="bf16")
    assert (rough - expected).abs().max() < 0.02


@everything
def test_the_reference_serves_every_model(encoder, decoder):
    model = small(encoder, SMALL_DECODERS[decoder]).eval()
    lr = torch.rand(3, 9, 8)
    expected = model.upscale(lr, (20, 29), clamp=False)
    torch.testing.assert_close(reference.upscale(model, lr, (20, 29)), expected, atol=1e-5, rtol=0)


def test_many_cores_give_the_same_image():
    model = small().eval()
    lr = torch.rand(2, 3, 40, 50)
    expected = model.upscale(lr, (200, 133))
    try:
        torch.set_num_threads(3)
        found = model.upscale(lr, (200, 133))
        assert torch.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError):
            parallel_for(lambda item: 1 // item, [3, 2, 1, 0, 1, 2])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(found, expected)


def test_a_large_result_comes_in_strips(monkeypatch):
    model = small().eval()
    lr = torch.rand(1, 3, 6, 7)
    expected = model.upscale(lr, (200, 90))
    monkeypatch.setattr(tiling, "STRIP_BYTES", 90 * 12 * 20)
    strips = list(model.strips(lr, (200, 90)))
    assert [(first, strip.shape) for first, strip in strips] == [
        (i * 20, (1, 3, 20, 90)) for i in range(10)
    ]
    found = torch.cat([strip for _, strip in strips], dim=2).clamp(0, 1)
    torch.testing.assert_close(found, expected)


def test_out_of_gpu_memory_halves_the_tiles(caplog):
    """A stand-in for the GPU: an encoder that fails on windows above a size."""
    model = small().eval()
    lr = torch.rand(1, 3, 150, 90)
    expected = model.upscale(lr, (160, 170))
    encode, seen = model.encode, []

    def narrow(window):
        seen.append(max(window.shape[-2:]))
        if seen[-1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(window)

    model.encode = narrow
    limit = 60
    torch.testing.assert_close(model.upscale(lr, (160, 170)), expected)
    assert [record.message for record in caplog.records] == [
        "out of GPU memory; continuing with tiles of 75 px",
        "out of GPU memory; continuing with tiles of 37 px",
    ]
    limit = 20  # less than the smallest tile
    with pytest.raises(torch.OutOfMemoryError):
        model.upscale(lr, (160, 170))


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
    strips = model.strips(lr, (90, 77), precision="bf16", memory=1)
    first, part = next(strips)
    assert not torch.is_autocast_enabled("cpu")  # between strips the caller's code runs
    rest = [strip for _, strip in strips]
    found = torch.cat([part, *rest], dim=2)
    assert first == 0 and found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert (found - expected).abs().max() < 0.01
    torch.testing.assert_close(model.upscale(lr, (90, 77), precision="bf16"), found.clamp(0, 1))
