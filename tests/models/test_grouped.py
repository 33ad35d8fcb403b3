"""Pixels grouped by their codes: every pixel is there once for each corner, for any sizes."""

import pytest
import torch

from liif.models.field import Field
from liif.models.geometry import corners, pixel_centres
from liif.models.grouped import ensemble_by_code, groups


def test_groups_hold_every_pixel_of_a_code_once():
    index = torch.tensor([[4, 4, 4, 5, 5], [4, 5, 5, 6, 7]])
    offset = torch.arange(10.0).view(2, 5)
    found = groups(index, offset)
    assert found.first == 4
    assert found.offsets.tolist() == [[0, 1, 2, 5], [3, 4, 6, 7], [8, 0, 0, 0], [9, 0, 0, 0]]
    assert torch.equal(found.offsets.view(-1)[found.position], offset)


@pytest.mark.parametrize("size", [(12, 20), (7, 11), (3, 2), (1, 1), (31, 5)])
def test_ensemble_by_code_is_that_of_points(size):
    torch.manual_seed(0)
    field = Field(torch.rand(2, 3, 5, 1), size=(3, 5))
    y, x = (pixel_centres(n, torch.zeros(())) for n in size)

    def colour(code, y, x):
        return torch.cat(torch.broadcast_tensors(code * (1 + y), code - x * y), dim=-1)

    found = ensemble_by_code(field, y, x, colour)
    expected = sum(
        colour(field.gather(c.row[None], c.col[None]), c.offset_y[..., None], c.offset_x[..., None])
        * c.weight[..., None]
        for c in corners(*torch.meshgrid(y, x, indexing="ij"), field.size, ensemble=True)
    )
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
