"""Tiles, strips and blocks: they do not show, and they fit the memory."""

import weakref
from types import SimpleNamespace

import pytest
import torch
from helpers.small_models import small

from liif.inference.predict import InferenceOptions, predict
from liif.models import tiling


@pytest.mark.parametrize("decoder", ["liif", "lm-liif", "fourier", "ope", "bilinear", "thera"])
def test_blocks_do_not_show(decoder):
    model = small(decoder=decoder).eval()
    lr = torch.rand(3, 9, 14)
    expected = model.upscale(lr, (33, 47))
    for side in (1, 5, 20, 47):
        model.decoder.block = side
        torch.testing.assert_close(model.upscale(lr, (33, 47)), expected)


def test_many_cores_give_the_same_image():
    model = small().eval()
    lr = torch.rand(2, 3, 40, 50)
    expected = model.upscale(lr, (200, 133))
    try:
        torch.set_num_threads(3)
        found = model.upscale(lr, (200, 133))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(found, expected)


def test_a_large_result_comes_in_strips(monkeypatch):
    model = small().eval()
    lr = torch.rand(1, 3, 6, 7)
    expected = model.upscale(lr, (200, 90))
    monkeypatch.setattr(tiling, "STRIP_BYTES", 90 * 12 * 20)
    strips = list(model.strips(lr, (200, 90)))
    assert [(first, strip.shape) for first, strip in strips] == [
        (i * 20, (1, 3, 20, 90)) for i in range(10)
    ]
    found = torch.cat([strip for _, strip in strips], dim=2).clamp(0, 1)
    torch.testing.assert_close(found, expected)


def test_out_of_gpu_memory_halves_the_tiles(caplog):
    """A stand-in for the GPU: an encoder that fails on windows above a size."""
    model = small().eval()
    lr = torch.rand(1, 3, 150, 90)
    expected = model.upscale(lr, (160, 170))
    encode, seen = model.encode_frame, []

    def narrow(window):
        seen.append(max(window.shape[-2:]))
        if seen[-1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(window)

    model.encode_frame = narrow
    limit = 60
    torch.testing.assert_close(model.upscale(lr, (160, 170)), expected)
    assert [record.message for record in caplog.records] == [
        "out of memory; continuing with tiles of 75 px",
        "out of memory; continuing with tiles of 37 px",
    ]
    limit = 20  # less than the smallest tile
    with pytest.raises(torch.OutOfMemoryError):
        model.upscale(lr, (160, 170))


@pytest.fixture
def out_of_memory(monkeypatch):
    """A model whose encoder has too little memory once, and what it then did."""
    model = small().eval()
    encode, events = model.encode_frame, []

    def once(window):
        tensor = torch.zeros(1)
        if not events:
            weakref.finalize(tensor, events.append, "tensor freed")
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(window)

    model.encode_frame = once
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: events.append("cache emptied"))
    return model, events


def test_failed_tensors_are_freed_before_the_cache_is_emptied(out_of_memory):
    model, events = out_of_memory
    list(model.strips(torch.rand(1, 3, 50, 60), (60, 70)))
    assert events == ["tensor freed", "cache emptied"]


def test_memory_that_the_allocator_holds_unused_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 600)
    on_gpu = SimpleNamespace(is_cuda=True, device="a GPU")
    assert tiling.memory_budget(on_gpu) == (1000 + 3000 - 600) // 2
    assert tiling.memory_budget(torch.zeros(1)) == tiling.CPU_BUDGET


@pytest.mark.parametrize("precision", ["float32", "bf16!", "fp16!"])
def test_results_are_normal_tensors(precision):
    """They can be changed in place and used with gradients."""
    model = small().eval()
    lr = torch.rand(1, 3, 8, 9)
    field = model.encoded(lr, precision=precision)
    results = [strip for _, strip in model.strips(lr, (20, 30), precision=precision)]
    results += [model.rendered(field, (20, 30)), model.upscale(lr, (20, 30), precision=precision)]
    results += [predict(model, lr[0], (20, 30), InferenceOptions(engine="reference"))]
    for result in results:
        assert not result.is_inference()
        result.clamp_(0, 1).requires_grad_()
        (result * 2).sum().backward()
    assert not field.codes.is_inference()
    coord, cell = torch.rand(1, 30, 2), torch.rand(1, 2)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16!"):
        model.query(field, coord.requires_grad_(), cell).sum().backward()
    assert coord.grad.isfinite().all()
