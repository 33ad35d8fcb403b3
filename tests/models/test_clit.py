"""CLIT, beside a plain computation of its formulas, point by point."""

import pytest
import torch
import torch.nn.functional as F
from helpers.small_models import small

from liif.core.errors import UserError
from liif.core.sizes import Window
from liif.models.geometry import grid_coord, pixel_centres


def one_stage(decoder, stage, feat, size, point, cell):
    """What a stage adds at a point, from its features (1, C, h, w)."""
    query, key, value = (
        convs[stage](feat) for convs in (decoder.conv_qs, decoder.conv_ks, decoder.conv_vs)
    )
    y, x = point
    query = F.grid_sample(query, torch.tensor([[[[x, y]]]]).double(), align_corners=False).flatten()
    row, col = (round(((p + 1) * n - 1) / 2) for p, n in zip(point, size, strict=True))
    rates = 2 ** torch.linspace(0, 10, decoder.position.in_features // 4, dtype=torch.double) - 1
    scores, values = [], []
    for i in range(row - 2, row + 3):
        for j in range(col - 2, col + 3):
            inside = 0 <= i < size[0] and 0 <= j < size[1]
            k, v = (each[0, :, i, j] if inside else torch.zeros(8) for each in (key, value))
            r_y, r_x = (
                p * n - (2 * at + 1 - n) for p, n, at in zip(point, size, (i, j), strict=True)
            )
            angles = torch.cat([r_y * rates, r_x * rates])
            bias = decoder.position(torch.cat([angles.sin(), angles.cos()]))
            scores.append((query * k).view(2, 4).sum(dim=1) / 2 + bias)
            values.append(v)
    weights = torch.stack(scores).softmax(dim=0).repeat_interleave(4, dim=1)
    inputs = (torch.stack(values) * weights).flatten()
    share = torch.tensor([c * n for c, n in zip(cell, size, strict=True)])
    return decoder.imnets[stage](torch.cat([inputs, share]).double())


@pytest.mark.parametrize(
    ("stages", "used", "size"), [(1, 1, (9, 11)), (2, 1, (16, 21)), (3, 2, (17, 24))]
)
def test_the_formulas(stages, used, size):
    decoder = small(decoder="clit", stages=stages).decoder.double()
    feat, lr = torch.randn(1, 8, 4, 6).double(), torch.randn(1, 3, 4, 6).double()
    points = grid_coord(*(pixel_centres(n, feat) for n in size))[::13]
    cell = torch.tensor([2 / n for n in size]).double()
    with torch.no_grad():
        field = decoder.prepare(feat, lr)
        found = decoder.query(field, points[None], cell[None, None])[0]
        feats = [decoder.conv_ch(feat)]
        finer = grid_coord(*(pixel_centres(4 * n, feat) for n in (4, 6))).view(1, 16, 24, 2)
        feats.append(F.grid_sample(feats[0], finer.flip(-1), align_corners=False))
        for point, colour in zip(points.tolist(), found, strict=True):
            parts = [
                one_stage(decoder, i, feats[i], (4 * 4**i, 6 * 4**i), point, cell.tolist())
                for i in range(used)
            ]
            expected = parts[0] if used == 1 else parts[1] + 0.75 * parts[0]
            at = torch.tensor([[[point[::-1]]]]).double()
            image = F.grid_sample(lr, at, padding_mode="border", align_corners=False)
            torch.testing.assert_close(colour, expected + image.flatten(), atol=1e-5, rtol=1e-5)


def test_a_cascade_in_tiles_windows_and_points():
    model, lr, size = small(decoder="clit", stages=2).eval(), torch.rand(1, 3, 36, 17), (180, 85)
    whole = model.upscale(lr, size, clamp=False)
    first = small(decoder="clit").eval().upscale(lr, size, clamp=False)
    assert (whole - first).abs().mean() > 0.01
    tiled = torch.cat([strip for _, strip in model.strips(lr, size, memory=1)], dim=2)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)
    part = model.upscale(lr, (50, 50), window=Window(12, 5, 10, 10), clamp=False)
    torch.testing.assert_close(part, whole[..., 60:110, 25:75], atol=1e-4, rtol=0)


def test_images_of_one_batch_use_their_own_stages():
    model = small(decoder="clit", stages=2).eval()
    lr, coord = torch.rand(2, 3, 7, 6), torch.rand(2, 30, 2) * 2 - 1
    cell = torch.tensor([[0.1, 0.1], [0.01, 0.01]])
    with torch.no_grad():
        alone = [model(lr[i : i + 1], coord[i : i + 1], cell[i : i + 1]) for i in (0, 1)]
        torch.testing.assert_close(model(lr, coord, cell), torch.cat(alone), atol=1e-6, rtol=0)


def test_every_stage_learns():
    model = small(decoder="clit", stages=3).train()
    model(torch.rand(1, 3, 7, 6), torch.rand(1, 9, 2), torch.full((1, 2), 0.01)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_heads_divide_the_width():
    with pytest.raises((UserError, ValueError), match="heads: 3 is not a divisor of width 8"):
        small(decoder="clit", heads=3)
