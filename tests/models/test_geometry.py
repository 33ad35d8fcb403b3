"""Nearest codes, the local ensemble's weights, windows of a field."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from liif.core.sizes import Window, target_size
from liif.models.field import Field
from liif.models.geometry import (
    Grid,
    cell_of,
    corners,
    grid_coord,
    grid_corners,
    nearest,
    pixel_centres,
)

ONE = torch.zeros((), dtype=torch.float64)


def test_pixel_centres():
    torch.testing.assert_close(
        pixel_centres(4, ONE), torch.tensor([-0.75, -0.25, 0.25, 0.75], dtype=torch.float64)
    )
    assert pixel_centres(1, ONE).tolist() == [0.0]


def test_grid_coord_runs_along_rows():
    coord = grid_coord(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0, 5.0]))
    assert coord.tolist() == [[1, 3], [1, 4], [1, 5], [2, 3], [2, 4], [2, 5]]


def test_cell_is_a_pixel():
    assert cell_of((4, 8), ONE).tolist() == [[0.5, 0.25]]


@given(n=st.integers(1, 300), position=st.floats(0.001, 0.999))
def test_nearest_is_the_pixel_that_holds_the_coordinate(n, position):
    u = position * n
    if abs(u - round(u)) < 1e-4:
        return  # on a border between pixels either is right
    code = nearest(torch.tensor([2 * position - 1], dtype=torch.float64), n)
    assert code.at.item() == int(u)
    assert code.offset.item() == pytest.approx(2 * (u - int(u) - 0.5), abs=1e-9)


@given(n=st.integers(1, 60), N=st.integers(1, 200))
def test_neighbours_enclose_the_query(n, N):
    y = pixel_centres(N, ONE)
    low, high = nearest(y, n, -1), nearest(y, n, 1)
    u = (torch.arange(N) + 0.5) * n / N - 0.5  # in code indices
    # The coordinate's bias of 1e-6 moves what lies on a border.
    floor = torch.floor(u + 2e-6 * n).long()
    assert torch.equal(low.at, floor.clamp(0, n - 1))
    assert torch.equal(high.at, (floor + 1).clamp(0, n - 1))


@pytest.mark.parametrize(("size", "out"), [((5, 7), (13, 9)), ((1, 1), (4, 3)), ((3, 8), (3, 8))])
def test_ensemble_weights_are_bilinear(size, out):
    """Opposite areas, written out: away from the border the weights are those of bilinear
    interpolation, and everywhere they sum to one."""
    y, x = pixel_centres(out[0], ONE).view(-1, 1), pixel_centres(out[1], ONE).view(1, -1)
    four = list(corners(y, x, size, ensemble=True))
    total = sum(c.weight for c in four)
    torch.testing.assert_close(total, torch.ones_like(total))
    u = (torch.arange(out[0]) + 0.5).double() * size[0] / out[0] - 0.5
    v = (torch.arange(out[1]) + 0.5).double() * size[1] / out[1] - 0.5
    for i, j in itertools.product(range(out[0]), range(out[1])):
        if not (0 <= u[i] < size[0] - 1 and 0 <= v[j] < size[1] - 1):
            continue
        fy, fx = u[i] - u[i].floor(), v[j] - v[j].floor()
        expected = [(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx]
        found = [c.weight[i, j] for c in four]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_without_ensemble_there_is_one_corner():
    y = pixel_centres(6, ONE)
    (corner,) = corners(y, y, (3, 3), ensemble=False)
    assert corner.weight.tolist() == [1] * 6
    assert corner.row.tolist() == [0, 0, 1, 1, 2, 2]
    torch.testing.assert_close(corner.offset_y, torch.tensor([-0.5, 0.5] * 3, dtype=torch.float64))


@pytest.mark.parametrize("ensemble", [True, False])
def test_a_grid_has_the_corners_of_its_points(ensemble):
    y, x, size = pixel_centres(13, ONE), pixel_centres(9, ONE), (5, 7)
    points = corners(*torch.meshgrid(y, x, indexing="ij"), size, ensemble=ensemble)
    grid = grid_corners(y, x, size, ensemble=ensemble)
    places = itertools.product(range(len(grid.row)), repeat=2)
    for corner, (i, j) in zip(points, places, strict=True):
        assert torch.equal(corner.row, grid.row[i, :, None].expand(13, 9))
        assert torch.equal(corner.col, grid.col[j].expand(13, 9))
        assert torch.equal(corner.offset_y, grid.offset_y[i, :, None].expand(13, 9))
        assert torch.equal(corner.offset_x, grid.offset_x[j].expand(13, 9))
        torch.testing.assert_close(corner.weight, grid.weight[i, :, j])


def test_gather_takes_each_image_of_a_batch_from_its_own_codes():
    field = Field(torch.arange(2 * 6).view(2, 2, 3, 1).float(), size=(2, 3))
    row, col = torch.tensor([[1]]), torch.tensor([[2]])
    assert field.gather(row, col).flatten().tolist() == [5, 11]


def test_a_window_answers_as_the_whole():
    image = torch.rand(2, 4, 9, 11)
    whole = Field.of_map(image)
    part = Field.of_map(image[:, :, 2:7, 3:9]).at_origin((2, 3), (9, 11))
    row, col = torch.tensor([[[2], [6]]]), torch.tensor([[[3, 5, 8]]])
    assert torch.equal(whole.gather(row, col), part.gather(row, col))
    assert whole.gather(row, col)[1, 1, 2].tolist() == image[1, :, 6, 8].tolist()


@given(
    n=st.integers(1, 40), N=st.integers(1, 200), window=st.tuples(st.floats(0, 1), st.floats(0, 1))
)
def test_around_leaves_no_code_out(n, N, window):
    """Every corner of the pixels asked for, ensemble or Meta-SR's, is in the view as in the map."""
    first, last = sorted(min(int(at * N), N - 1) for at in window)
    field = Field.of_map(torch.arange(n).float().view(1, 1, n, 1))
    part = field.window(*Grid((N, 1), (n, 1)).spans((first, last + 1), (0, 1)))
    centres = pixel_centres(N, ONE.float())[first : last + 1]
    for at in (*(nearest(centres, n, s).at for s in (-1, 0, 1)), nearest(centres - 1 / N, n).at):
        rows, col = at.view(1, -1, 1), torch.zeros(1, 1, 1, dtype=torch.long)
        assert part.gather(rows, col).flatten().tolist() == at.tolist()
        along_y, along_x = torch.rand(len(at), 1), torch.rand(1, 1)
        found = part.gather_grid(at, col.flatten(), along_y, along_x)
        assert torch.equal(found.flatten(), at + along_y[:, 0] + along_x[0])


@given(
    n=st.integers(1, 40),
    N=st.integers(1, 200),
    sides=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    shown=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_around_leaves_no_code_of_a_window_out(n, N, sides, shown):
    start, end = sorted(sides)
    window = Window(start * n, 0, max((end - start) * n, 1e-3 * n), 1)
    assume(window.top + window.height <= n)
    first, last = sorted(min(int(at * N), N - 1) for at in shown)
    field = Field.of_map(torch.arange(n).float().view(1, 1, n, 1))
    grid = Grid((N, 1), (n, 1), window)
    part = field.window(*grid.spans((first, last + 1), (0, 1)))
    centres = grid.centres(0, ONE.float())[first : last + 1]
    for at in (nearest(centres, n, s).at for s in (-1, 0, 1)):
        rows, col = at.view(1, -1, 1), torch.zeros(1, 1, 1, dtype=torch.long)
        assert part.gather(rows, col).flatten().tolist() == at.tolist()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_windows_pixels_are_where_they_are_in_the_whole(axis):
    """x4 of 9×12, and the pixels 8 … 19 and 4 … 31 of it."""
    whole = Grid((36, 48), (9, 12))
    part = Grid((12, 28), (9, 12), Window(2, 1, 3, 7))
    start, length = ((8, 12), (4, 28))[axis]
    expected = whole.centres(axis, ONE)[start : start + length]
    torch.testing.assert_close(part.centres(axis, ONE), expected)
    torch.testing.assert_close(part.cell(ONE), whole.cell(ONE))
    torch.testing.assert_close(part.cell(ONE, 2.0), whole.cell(ONE, 2.0))


@pytest.mark.parametrize(
    "window", [(-0.1, 0, 1, 1), (0, 0, 0, 1), (0, 0, 5, 1), (0, 3.5, 1, 1), (0, 0, math.nan, 1)]
)
def test_windows_outside_the_image_are_refused(window):
    with pytest.raises(ValueError, match="not inside an image of 4×4 px"):
        Grid((4, 4), (4, 4), Window(*window))


def test_a_window_of_an_upsampled_map_is_placed_in_its_own_pixels():
    image = torch.rand(1, 1, 18, 22)
    part = Field.of_map(image[:, :, 4:14, 6:18], factor=2).at_origin((2, 3), (9, 11))
    assert part.size == (18, 22)
    value = part.gather(torch.tensor([[5]]), torch.tensor([[7]]))
    assert value.item() == image[0, 0, 5, 7].item()


def test_target_size():
    assert target_size((10, 20), scale=2.5) == (25, 50)
    assert target_size((10, 20), scale=(2, 3.5)) == (20, 70)
    assert target_size((10, 20), scale=0.01) == (1, 1)
    assert target_size((10, 20), size=(7, 9)) == (7, 9)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"size": (3, 3), "scale": 2},
        {"scale": 0},
        {"scale": -1},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"scale": (2, 0)},
        {"size": (0, 5)},
        {"size": (2.5, 5)},
    ],
)
def test_impossible_sizes(wrong):
    with pytest.raises(ValueError, match=r"size|scale"):
        target_size((10, 20), **wrong)
