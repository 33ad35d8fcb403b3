"""Training on whole crops: a grid has the colours and gradients of its points."""

import pytest
import torch

from liif.models.build import DECODERS, ModelConfig, build_model
from liif.models.geometry import grid_coord, pixel_centres


@pytest.mark.parametrize("name", DECODERS)
def test_a_grid_trains_as_its_points_do(name: str) -> None:
    decoder = DECODERS[name]
    options = {"name": name, **decoder.SMALL}
    encoder = {"name": "edsr-baseline", "blocks": 1, "width": 16}
    torch.manual_seed(0)
    config = ModelConfig.model_validate({"encoder": encoder, "decoder": options})
    model = build_model(config).train()
    lr, side = torch.rand(2, 3, 6, 6), 15
    line = pixel_centres(side, lr)
    coord, cell = grid_coord(line, line).expand(2, -1, -1), torch.full((2, 2), 2 / side)
    found: list[list[torch.Tensor]] = []
    for is_grid in (False, True):
        model.zero_grad()
        rgb = model(lr, coord, cell, is_grid=is_grid)
        assert rgb.shape == (2, side * side, 3)
        (rgb * torch.linspace(-1, 1, rgb.numel()).view_as(rgb)).sum().backward()
        found.append([rgb.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    points, grid = found
    assert len(points) == len(grid) > 4
    for a, b in zip(points, grid, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-4 * float(a.abs().max()))
