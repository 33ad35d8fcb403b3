"""A GPU whose memory runs out, and what is asked of it."""

import copy

import pytest
import torch
from helpers.gpu import assert_alike, limit_memory
from helpers.pretend import IS_PRETEND, gpu
from helpers.small_models import small

from liif.models.tiling import memory_budget

pytestmark = pytest.mark.gpu


def test_an_image_that_does_not_fit_is_encoded_in_tiles(device, caplog):
    """Other programs have taken the memory that was free when the size of the tiles was chosen."""
    plain = small(decoder="bilinear").eval()
    model = copy.deepcopy(plain).to(device)
    lr = torch.rand(3, 520, 500)
    with limit_memory(24 * 2**20):
        found = model.upscale(lr, scale=1.1, clamp=False)
    assert "out of GPU memory; continuing with tiles of" in caplog.text
    assert_alike(found, plain.upscale(lr, scale=1.1, clamp=False))


def test_nothing_is_left_behind(device):
    model = small().eval().to(device)
    lr = torch.rand(3, 20, 24, device=device)
    model.upscale(lr, scale=2)
    before = torch.cuda.memory_allocated(device)
    for scale in (1.5, 2, 3):
        model.upscale(lr, scale=scale)
    assert torch.cuda.memory_allocated(device) == before


def test_the_budget_is_half_of_what_is_free(device):
    free, total = torch.cuda.mem_get_info(device)
    kept = torch.ones(2**20, device=device)
    budget = memory_budget(kept)
    assert total / 4 < budget <= total / 2
    assert budget == pytest.approx(free / 2, rel=0.05)
    if IS_PRETEND:
        assert budget == (gpu.total - gpu.allocated) // 2
