"""The decoder's Triton kernel; on the pretend device it runs in Triton's interpreter."""

import copy

import pytest
import torch
from helpers.gpu import assert_alike
from helpers.pretend import IS_PRETEND
from helpers.small_models import small

from liif.models import tiling
from liif.models.kernels import fused

pytestmark = pytest.mark.gpu


@pytest.fixture
def kernel(monkeypatch):
    """The calls of the kernel so far; a card that it does not support is skipped."""
    pytest.importorskip("triton")
    if IS_PRETEND:  # whose interpreter is slow, and has no speeds to compare
        candidates = fused.candidates
        monkeypatch.setattr(fused, "candidates", lambda *of: candidates(*of)[-1:])
    calls, decode = [], fused.decode
    monkeypatch.setattr(fused, "decode", lambda *a, **k: calls.append(a) or decode(*a, **k))
    return calls


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_it_computes_what_the_plain_decoder_does(precision, kernel, monkeypatch):
    if IS_PRETEND and precision == "bf16":
        pytest.skip("the interpreter multiplies bits of bfloat16; tests/models/test_fused.py")
    device = torch.device("cuda", torch.cuda.device_count() - 1)  # may not be the current one
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if not fused.candidates(device, dtype):
        pytest.skip(f"the kernel does not support this card in {precision}")
    monkeypatch.setattr(tiling, "block_side", lambda *_: 8)
    model = small().eval().to(device)
    plain = copy.deepcopy(model)
    plain.decoder.fuse = False
    lr, size = torch.rand(2, 3, 4, 5, device=device), (7, 13)
    expected = plain.upscale(lr, size, clamp=False, precision=precision)
    assert not kernel
    model.upscale(lr, size, clamp=False, precision=precision)  # with the trial
    kernel.clear()
    found = model.upscale(lr, size, clamp=False, precision=precision)
    assert len(kernel) == 2  # blocks
    assert_alike(found, expected.cpu(), limit=0.1 if precision == "bf16" else None)
