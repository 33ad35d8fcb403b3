"""Grids whose pixels lie alike in every cell: the colours and gradients of their points."""

import pytest
import torch

from liif.models.build import DECODERS, ModelConfig, build_model
from liif.models.geometry import Grid, grid_coord, pixel_centres
from liif.models.repeated import repeated_axes

SIZE = (6, 7)


def small_model(name, **options):
    options = {"name": name, **DECODERS[name].SMALL, **options}
    encoder = {"name": "edsr-baseline", "blocks": 1, "width": 8}
    return build_model(ModelConfig.model_validate({"encoder": encoder, "decoder": options}), seed=0)


def axes_of(scale, rows=slice(None), cols=slice(None), window=None):
    field = small_model("bilinear").encode(torch.rand(1, 3, *SIZE))
    size = (round(SIZE[0] * scale), round(SIZE[1] * scale))
    y, x = (Grid(size, SIZE, window).centres(axis, torch.zeros(())) for axis in (0, 1))
    return repeated_axes(field, y[rows], x[cols])


def test_axes_of_an_integer_scale():
    rows, cols = axes_of(4, slice(2, 13), slice(8, 12))
    assert rows.offsets.tolist() == cols.offsets.tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert rows.cells == slice(0, 4) and rows.pixels == slice(2, 13)
    assert cols.cells == slice(2, 3) and cols.pixels == slice(0, 4)


def test_other_grids_have_none():
    assert axes_of(2.5) is None
    assert axes_of(4, slice(3, 4)) is None
    assert axes_of(4, window=(0.1, 0, 5, 7)) is None


@pytest.mark.parametrize("scale", [1, 2, 3, 5])
@pytest.mark.parametrize("name", ["bilinear", "fourier", "thera"])
def test_a_grid_is_its_points(name, scale):
    """Of two images: the whole grid, and a part that begins and ends inside of cells."""
    kernels = [{"kernel": "bilinear"}, {"kernel": "bicubic"}] if name != "thera" else [{}]
    y, x = (pixel_centres(n * scale, torch.zeros(())) for n in SIZE)
    cell = torch.tensor([[2 / len(y), 2 / len(x)]])
    for options in kernels:
        model = small_model(name, **options)
        parameters = [p for p in model.parameters() if p.requires_grad]
        field = model.bind(model.encode(torch.rand(2, 3, *SIZE)), cell)
        points = model.decoder.query(field, grid_coord(y, x).expand(2, -1, -1), cell[:, None])
        points = points.unflatten(1, (len(y), len(x)))
        assert repeated_axes(field, y, x) is not None
        grid = model.decoder.query_grid(field, y, x, cell)
        torch.testing.assert_close(grid, points, atol=1e-5, rtol=1e-5)
        weight = torch.linspace(-1, 1, points.numel()).view_as(points)
        gradients = [
            torch.autograd.grad((rgb * weight).sum(), parameters, retain_graph=True)
            for rgb in (points, grid)
        ]
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(b, a, rtol=2e-4, atol=2e-4 * float(a.abs().max()))
        part = field.window((1, 4), (2, 6), model.decoder.reach)
        rows, cols = slice(2 * scale - 1, 4 * scale), slice(2 * scale, 6 * scale - scale // 2)
        found = model.decoder.query_grid(part, y[rows], x[cols], cell)
        torch.testing.assert_close(found, points[:, rows, cols], atol=1e-5, rtol=1e-5)
