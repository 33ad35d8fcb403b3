"""Sums that factor on a grid: against the plain sums, and interpolation against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F
from helpers.small_models import small

from liif.models.field import Field, bicubic_taps, bilinear_taps, interpolate
from liif.models.geometry import grid_coord, pixel_centres
from liif.models.separable import Along, bilinear_grid, interpolate_grid, separable, spread


def test_the_sum():
    """Of one, two or three terms, for any cells in any order, with its gradients."""
    torch.manual_seed(0)
    for count in (1, 2, 3):
        vectors = torch.rand(2, 5, 7, 3 * 4 * 4, requires_grad=True)
        rows = Along(torch.randint(5, (count, 6)), torch.rand(count, 6, 4, requires_grad=True))
        cols = Along(torch.tensor([[0, 0, 0, 6, 6, 2, 0, 0, 1]] * count), torch.rand(count, 9, 4))
        terms = vectors.view(2, 5, 7, 3, 4, 4)
        matrices = spread(*rows, 5), spread(*cols, 7)
        expected = torch.einsum("bykcij,ryi,wkj->brwc", terms, *matrices)
        found = separable(vectors, rows, cols)
        torch.testing.assert_close(found, expected)
        leaves = vectors, rows.values
        weights = torch.rand_like(found)
        for a, b in zip(
            torch.autograd.grad((found * weights).sum(), leaves, retain_graph=True),
            torch.autograd.grad((expected * weights).sum(), leaves),
            strict=True,
        ):
            torch.testing.assert_close(a, b)
        rough = separable(vectors.bfloat16(), rows, cols)
        assert rough.dtype == torch.float32 and (rough - expected).abs().mean() < 0.05
        with torch.autocast("cpu", torch.bfloat16):  # colours are summed in float32
            assert torch.equal(separable(vectors.bfloat16(), rows, cols), rough)


def test_terms_of_one_cell_are_added():
    index = torch.tensor([[0, 2, 2], [1, 2, 0]])
    values = torch.tensor([[[1.0], [2], [3]], [[10], [20], [30]]])
    expected = torch.tensor([[1.0, 10, 0], [0, 0, 22], [30, 0, 3]])
    assert torch.equal(spread(index, values, 3)[..., 0], expected)


def centres(*sizes):
    return [pixel_centres(n, torch.zeros(())) for n in sizes]


def test_bilinear_is_that_of_pytorch():
    image = torch.rand(2, 3, 5, 7)
    field = Field.of_map(image, maps={"lr": image})
    y, x = centres(13, 20)
    grid = grid_coord(y, x).view(1, 13, 20, 2).flip(-1).expand(2, -1, -1, -1)
    expected = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(bilinear_grid(field, y, x), expected.permute(0, 2, 3, 1))


@pytest.mark.parametrize("taps", [bilinear_taps, bicubic_taps])
def test_points_and_windows_have_the_same_colours(taps):
    image = torch.rand(2, 3, 11, 12)
    field = Field.of_map(image, maps={"lr": image})
    y, x = centres(23, 41)
    points = interpolate(field, y[:, None].expand(23, 41)[None], x.expand(23, 41)[None], taps)
    torch.testing.assert_close(interpolate_grid(field, y, x, taps), points)
    part = field.window((3, 6), (4, 7), reach=2)
    inside = slice(7, 12), slice(14, 23)
    found = interpolate_grid(part, y[inside[0]], x[inside[1]], taps)
    torch.testing.assert_close(found, points[:, inside[0], inside[1]])


@pytest.mark.parametrize("decoder", ["fourier", "bilinear"])
def test_decoders_on_a_grid_equal_their_points(decoder):
    """At the edges, between the codes and at the codes themselves."""
    model = small(decoder=decoder).eval()
    field = model.encode(torch.rand(2, 3, 6, 7))
    y, x = torch.linspace(-1, 1, 25), torch.cat([centres(7)[0], torch.tensor([-1.0, 1])])
    cell = torch.full((1, 2), 0.1)
    points = model.decoder.query(field, grid_coord(y, x).expand(2, -1, -1), cell[:, None])
    found = model.decoder.query_grid(field, y, x, cell)
    torch.testing.assert_close(found.flatten(1, 2), points, atol=1e-5, rtol=1e-5)
