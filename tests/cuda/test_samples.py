"""Training samples that are made on a GPU are those of the host, to the bit."""

import pytest
import torch
from helpers.gpu import count_waits
from helpers.pictures import noise, texture
from helpers.samples import fixed_pairs, random_scale

from liif.data.gpu import DeviceSampler
from liif.data.loader import batches

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(
    "source",
    [
        random_scale(noise(40, 44), texture(50, 41)),
        fixed_pairs([texture(12, 13), noise(9, 12)], [noise(36, 39), texture(27, 36)], 3),
    ],
    ids=["random-scale", "pairs"],
)
def test_they_are_the_same(source, device):
    asked = {"seed": 3, "batch_size": 4, "start": 0, "stop": 3}
    there = batches(source, **asked, device_sampler=DeviceSampler(source, device), pin_memory=True)
    next(there)
    here = batches(source, **asked)
    next(here)
    for expected in here:
        with count_waits() as waits:
            found = next(there)
        assert not waits
        for one, other in zip(found[:4], expected[:4], strict=True):
            assert one.device == device and torch.equal(one.cpu(), other)
