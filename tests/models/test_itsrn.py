"""ITSRN, beside a computation of its formulas point by point."""

import torch
import torch.nn.functional as F
from helpers.small_models import small

from liif.models.geometry import grid_coord, pixel_centres


def test_the_formulas():
    decoder = small(decoder="itsrn").decoder.double()
    feat = torch.randn(1, 8, 4, 6, dtype=torch.double)
    H, W = size = (9, 10)
    points = grid_coord(*(pixel_centres(n, feat) for n in size))
    cell = torch.tensor([[[2 / H, 2 / W]]], dtype=torch.double)
    with torch.no_grad():
        field = decoder.prepare(feat, feat[:, :3])
        found = decoder.query(field, points[None], cell)[0]
        padded = F.pad(feat[0], (1, 1, 1, 1))
        for (y, x), colour in zip(points.tolist(), found, strict=True):
            values = []
            for sign_y, sign_x in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
                at, offset = [], []
                for p, s, n, N in ((y, sign_y, 4, H), (x, sign_x, 6, W)):
                    moved = p + s * (1 - 1 / N) / (n - 1) + 1e-6
                    at.append(round(((min(max(moved, -1 + 1e-6), 1 - 1e-6) + 1) * n - 1) / 2))
                    offset.append(p * n - (2 * at[-1] + 1 - n))
                inputs = torch.tensor([*offset, 4 / H, 6 / W], dtype=torch.double)
                weight = decoder.imnet(inputs).view(-1, 3)
                patch = padded[:, at[0] : at[0] + 3, at[1] : at[1] + 3].flatten()
                values.append(patch @ weight + decoder.score(inputs[:2]))
            expected = decoder.blend(torch.stack(values, dim=-1))[:, 0]
            torch.testing.assert_close(colour.double(), expected, atol=1e-5, rtol=1e-5)
