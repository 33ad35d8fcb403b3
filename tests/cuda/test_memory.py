"""Memory of a GPU: what decoding takes, and what happens where it runs out."""

import copy
import gc
import logging

import pytest
import torch
from helpers.gpu import assert_alike, limit_memory
from helpers.pictures import texture
from helpers.pretend import IS_PRETEND
from helpers.pretend_tensor import gpu
from helpers.small_models import small

from liif.data.pairs import Pair
from liif.evaluation import evaluate as evaluation
from liif.evaluation.evaluate import evaluate
from liif.evaluation.protocols import get_protocol
from liif.models import tiling
from liif.models.build import DECODERS, ModelConfig, build_model
from liif.models.geometry import Grid
from liif.models.tiling import block_side, memory_budget

pytestmark = pytest.mark.gpu


def test_an_image_that_does_not_fit_is_encoded_in_tiles(device, caplog):
    """Other programs have taken the memory that was free when the size of the tiles was chosen."""
    plain = small(decoder="bilinear").eval()
    model = copy.deepcopy(plain).to(device)
    # A real GPU's memory is allocated in pieces of 20 MB.
    side, most = (500, 24 * 2**20) if IS_PRETEND else (1600, 2**28)
    lr = torch.rand(3, side, side)
    with limit_memory(most):
        found = model.upscale(lr, scale=1.1, clamp=False)
    assert "out of memory; continuing with tiles of" in caplog.text
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


@pytest.mark.parametrize(
    ("decoder", "side", "most"), [("liif", 400, 2**26), ("hiif", 80, 12 << 20)]
)
def test_blocks_are_halved_where_memory_runs_out(decoder, side, most, device, caplog):
    """The decoder hiif has statistics, which are summed in blocks of their own."""
    if most < 2**26 and not IS_PRETEND:
        pytest.skip("a real GPU's memory is allocated in larger pieces")
    plain = small(decoder=decoder).eval()
    plain.decoder.fuse = False  # the kernel takes hardly any memory
    model = copy.deepcopy(plain).to(device)
    torch.manual_seed(0)
    lr, size = torch.rand(1, 3, 32, 33), (side, side + 1)
    expected = plain.upscale(lr, size, clamp=False)
    there = lr.to(device)
    field = model.encoded(there)
    model.upscale(there, (8, 8))  # libraries allocate at their first call
    with limit_memory(most), caplog.at_level(logging.WARNING):
        found = model.upscale(there, size, clamp=False)
        lines, shown = caplog.messages[:], model.rendered(field, size)
    assert lines and all("continuing with blocks of" in line for line in lines)
    assert len(lines) == len(set(lines)) <= 3  # what fits is known from then on
    assert_alike(found, expected)
    if decoder == "liif":  # without the statistics of the whole image, others differ
        assert_alike(shown, expected)


def test_the_smallest_blocks_may_not_fit_either(device):
    if not IS_PRETEND:
        pytest.skip("a real GPU's memory is allocated in larger pieces")
    model = small().eval().to(device)
    field = model.encoded(torch.rand(1, 3, 32, 33).to(device))
    with limit_memory(2**19), pytest.raises(torch.OutOfMemoryError):
        model.rendered(field, (256, 256))


@pytest.mark.parametrize("message", ["CUDNN_STATUS_ALLOC_FAILED", "CUDA error: out of memory"])
def test_libraries_run_out_of_memory_with_errors_of_their_own(message, device, monkeypatch):
    model, lr = small().eval().to(device), torch.rand(1, 3, 9, 9).to(device)
    expected = model.upscale(lr, (130, 70))
    query_grid, sides = model.decoder.query_grid, []

    def limited(field, y, x, cell):
        sides.append(len(y))
        if len(y) > 64:
            raise RuntimeError(f"cuDNN error: {message}")
        return query_grid(field, y, x, cell)

    monkeypatch.setattr(model.decoder, "query_grid", limited)
    assert_alike(model.upscale(lr, (130, 70)), expected.cpu())
    assert sides == [130, 128, 64, 64, 64, 64, 2, 2]

    def fail(*_):
        sides.append(0)
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(model.decoder, "query_grid", fail)
    with pytest.raises(RuntimeError, match="illegal"):
        model.upscale(lr, (130, 70))
    assert sides.count(0) == 1


def bound_field(decoder, device, batch=1, **options):
    """A model with the default widths of a decoder, and a field of it."""
    encoder = {"name": "edsr-baseline", "blocks": 1}
    options |= {"scale": 2} if decoder == "upsampler" else {}
    config = {"encoder": encoder, "decoder": {"name": decoder, **options}}
    model = build_model(ModelConfig.model_validate(config)).eval().to(device)
    field = model.encoded(torch.rand(batch, 3, 8, 8).to(device))
    with torch.inference_mode():
        return model, model.bind(field, Grid((32, 32), (8, 8)).cell(model.mean))


@pytest.mark.parametrize("decoder", DECODERS)
def test_the_bytes_of_a_pixel(decoder, device):
    model, field = bound_field(decoder, device)
    model.decoder.fuse = False
    grid, out = Grid((32, 32), (8, 8)), torch.empty(1, 3, 32, 32, device=device)
    peaks = []
    for _ in range(1 if IS_PRETEND else 2):  # libraries allocate at their first call
        gc.collect()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        with torch.inference_mode():
            tiling.render(model, field, out, (0, 32), (0, 32), grid, 1e9, 64)
        peaks.append((torch.cuda.max_memory_allocated(device) - before) / 32**2)
    with torch.inference_mode():
        stated = model.decoder.pixel_bytes(field)
    assert peaks[-1] <= 1.05 * stated
    if IS_PRETEND and decoder in ("liif", "ciaosr"):  # the largest of all
        assert peaks[-1] >= 0.9 * stated


def test_blocks_are_as_large_as_free_memory_allows(device, monkeypatch):
    sides = {}
    for batch in (1, 4):
        model, field = bound_field("liif", device, batch, local_ensemble=False)
        model.decoder.fuse = False
        with torch.inference_mode():
            sides[batch] = block_side(model.decoder, field)
            small_budget = block_side(model.decoder, field, memory=1)
            monkeypatch.setattr(tiling, "memory_budget", lambda codes: 2**26)
            little_memory = block_side(model.decoder, field)
            monkeypatch.undo()
        assert small_budget == 64
        assert little_memory == (128 if batch == 1 else 64)  # 3 KB a pixel
    assert sides[1] == 2 * sides[4] == 1024


def test_memory_that_was_used_before_is_free_again(device):
    before = memory_budget(torch.empty(1, device=device))
    torch.empty(2**28, dtype=torch.uint8, device=device)
    assert abs(memory_budget(torch.empty(1, device=device)) - before) < 2**22


def test_images_are_scored_on_the_host_where_the_gpu_has_no_memory(device, monkeypatch):
    model, ssim = small().eval().to(device), evaluation.ssim
    pairs = [Pair("a", texture(16, 18), texture(32, 36, 1))]
    protocol = get_protocol("div2k", (2, 2))
    (expected,) = evaluate(model, pairs, protocol)
    places = []

    def full(sr, *rest):
        places.append(sr.device.type)
        if sr.is_cuda:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return ssim(sr, *rest)

    monkeypatch.setattr(evaluation, "ssim", full)
    (found,) = evaluate(model, pairs, protocol)
    assert places == ["cuda", "cpu"]
    assert found[1:5] == pytest.approx(expected[1:5], abs=1e-4)
