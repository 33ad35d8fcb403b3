"""The bits of HIIF."""

import torch
from helpers.small_models import small

from liif.models.geometry import pixel_centres


def test_bits_are_those_of_exact_numbers():
    """x2: the position of every point in its pixel is exactly 1/4 or 3/4 right of a code."""
    model = small(decoder="hiif").eval()
    field = model.encode(torch.rand(1, 3, 9, 21))
    y, x = pixel_centres(18, torch.zeros(())), pixel_centres(42, torch.zeros(()))
    points = torch.stack([y[3].expand(40), x[1:41]], dim=-1)[None]
    bits = torch.stack(model.decoder.entered(field, points, torch.zeros(1, 1, 2))[1])
    expected = [[0, 1, 0], [1, 1, 0]] * 20  # of 1/4, the first point after a code, and 3/4
    assert bits[:, 0, :, 1].T.tolist() == expected
    assert bits[:, 0, :, 0].T.tolist() == [[0, 1, 0]] * 40
