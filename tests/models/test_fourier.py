"""Codes that are coefficients of waves, beside a plain computation in NumPy."""

import numpy as np
import pytest
import torch
from helpers.small_models import small

from liif.core.errors import UserError
from liif.models.build import ModelConfig, build_model
from liif.models.geometry import grid_coord, pixel_centres


def wave(code, r_y, r_x, omega):
    """The colours of one code (C, 3, 3) at an offset, with one frequency along each axis."""
    at = [np.array([1, 2**0.5 * np.cos(omega * r), 2**0.5 * np.sin(omega * r)]) for r in (r_y, r_x)]
    return np.einsum("cij,i,j->c", code, *at)


@pytest.fixture
def points():
    y, x = pixel_centres(7, torch.zeros(())), pixel_centres(11, torch.zeros(()))
    return grid_coord(y, x)[None]


def found(model, lr, points):
    with torch.no_grad():
        field = model.encode(lr)
        rgb = model.decoder.query(field, points, torch.full((1, 1, 2), 0.1))
    return field.codes[0].unflatten(-1, (3, 3, 3)).double().numpy(), rgb[0].double().numpy()


def test_fourier_is_the_nearest_code_and_the_bilinear_image(points):
    model, lr = (
        small(decoder="fourier", kernel="bilinear", cell=False).eval(),
        torch.rand(1, 3, 4, 6),
    )
    model.decoder.spacing.data.fill_(2.1)
    codes, rgb = found(model, lr, points)
    image = torch.nn.functional.interpolate(lr * 2 - 1, (7, 11), mode="bilinear")[0]
    for (y, x), colour, base in zip(
        points[0].double().numpy(), rgb, image.flatten(1).T.double().numpy(), strict=True
    ):
        row, col = (round(((p + 1) * n - 1) / 2) for p, n in ((y, 4), (x, 6)))
        r_y, r_x = (p * n - (2 * i + 1 - n) for p, n, i in ((y, 4, row), (x, 6, col)))
        np.testing.assert_allclose(colour, base + wave(codes[row, col], r_y, r_x, 2.1), atol=2e-6)


def test_the_cell_changes_the_strength_of_waves(points):
    """Each by its own law along either axis, about a cell of half a low-resolution pixel."""
    model, lr = small(decoder="fourier", kernel="bicubic", cell=True).eval(), torch.rand(1, 3, 4, 6)
    a, b = np.array([[0.3, -0.5, 0.2], [0.1, 0.4, -0.7]])
    model.decoder.gain.data = torch.tensor(np.stack([a, b])).float()
    with torch.no_grad():
        plain = model.encode(lr)
        bound = model.bind(plain, torch.tensor([[2 / 7, 2 / 11]]))
        half = model.bind(plain, torch.tensor([[2 / 8, 2 / 12]]))
        image = model.decoder.query(plain, points, torch.ones(1, 1, 2))
        none = image - model.decoder.waved(plain, points, model.decoder.spacing)
    torch.testing.assert_close(half.codes, plain.codes)
    y, x = (1 + (c - 0.5) * a + (c - 0.5) ** 2 * b for c in (4 / 7, 6 / 11))
    expected = plain.codes.double().numpy().reshape(1, 4, 6, 3, 3, 3) * np.outer(y, x)
    np.testing.assert_allclose(bound.codes.numpy(), expected.reshape(1, 4, 6, 27), atol=1e-6)
    resized = torch.nn.functional.interpolate(lr * 2 - 1, (7, 11), mode="bicubic")
    inner = none[0].view(7, 11, 3)[2:5, 2:9] - resized[0].permute(1, 2, 0)[2:5, 2:9]
    assert inner.abs().max() < 0.3  # PyTorch's kernel has another parameter, -0.75


@pytest.mark.parametrize("decoder", ["fourier", "thera"])
def test_a_grid_gives_the_colours_of_its_points(decoder):
    """Also of a window of the codes, of several images, and in bfloat16."""
    model = small(decoder=decoder).eval()
    y, x = pixel_centres(23, torch.zeros(())), pixel_centres(31, torch.zeros(()))
    cell = torch.tensor([[2 / 23, 2 / 31]])
    with torch.no_grad():
        field = model.bind(model.encode(torch.rand(2, 3, 7, 9)), cell)
        whole = model.decoder.query(field, grid_coord(y, x).expand(2, -1, -1), cell[:, None])
        whole = whole.unflatten(1, (23, 31))
        part = field.window((2, 5), (3, 8))
        rows, cols = slice(8, 15), slice(12, 26)
        rgb = model.decoder.query_grid(part, y[rows], x[cols], cell)
        assert (rgb - whole[:, rows, cols]).abs().max() < 1e-5
        with torch.autocast("cpu", torch.bfloat16):
            half = model.decoder.query_grid(field, y, x, cell)
    assert half.dtype == torch.float32 and (half - whole).abs().max() < 1e-5


def test_ope_blends_four_codes_by_area(points):
    model, lr = small(decoder="ope").eval(), torch.rand(1, 3, 4, 6)
    codes, rgb = found(model, lr, points)
    for (y, x), colour in zip(points[0].double().numpy(), rgb, strict=True):
        parts, areas = [], []
        for sign_y, sign_x in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            at = [np.clip(p + s / n + 1e-6, -1 + 1e-6, 1 - 1e-6) for p, s, n in
                  ((y, sign_y, 4), (x, sign_x, 6))]  # fmt: skip
            row, col = (int((p + 1) / 2 * n) for p, n in zip(at, (4, 6), strict=True))
            r_y, r_x = (p * n - (2 * i + 1 - n) for p, n, i in ((y, 4, row), (x, 6, col)))
            parts.append(wave(codes[row, col], r_y, r_x, np.pi / 2))
            areas.append(abs(r_y * r_x) + 1e-9)
        expected = sum(p * a for p, a in zip(parts, areas[::-1], strict=True)) / sum(areas)
        np.testing.assert_allclose(colour, expected, atol=2e-6)


def test_features_can_be_the_coefficients():
    config = ModelConfig(
        encoder={"name": "edsr-baseline", "blocks": 1, "width": 27},
        decoder={"name": "ope", "waves": 1, "adapt": False},
    )
    model = build_model(config)
    feat = torch.rand(1, 27, 4, 5)
    codes = model.decoder.prepare(feat, torch.rand(1, 3, 4, 5)).codes
    assert torch.equal(codes, feat.permute(0, 2, 3, 1)) and not list(model.decoder.parameters())
    with pytest.raises(UserError, match="adapt: false needs an encoder of width 27"):
        small(decoder="ope", adapt=False)
