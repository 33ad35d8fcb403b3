"""Which precision is computed in: units are asked for, believed only when they are faster."""

from contextlib import contextmanager

import pytest
import torch
from helpers.viewing import tiny_model

from liif.models import fastest
from liif.models.fastest import (
    claims_units,
    fastest_precision,
    half_is_faster,
    measured_speedup,
    used_precision,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)  # 0 is the current one


@pytest.fixture(autouse=True)
def forget():
    """What was found out about devices is of this process's, or of a test's pretended ones."""

    def clear():
        half_is_faster.cache_clear()
        fastest._warn_once.cache_clear()

    clear()
    yield
    clear()


def pretend_cpu(monkeypatch, *, claims, speedup):
    """A CPU that claims bfloat16 units, and multiplies so many times as fast with them."""
    monkeypatch.setattr(fastest, "claims_units", lambda precision: claims)
    monkeypatch.setattr(fastest, "measured_speedup", lambda precision: speedup)


@pytest.mark.parametrize(
    ("claims", "speedup", "expected"),
    [(True, 1.9, "bf16"), (True, 0.01, "float32"), (True, 1.1, "float32"), (False, 9, "float32")],
)
def test_units_are_believed_when_they_are_faster(monkeypatch, claims, speedup, expected):
    pretend_cpu(monkeypatch, claims=claims, speedup=speedup)
    assert fastest_precision(CPU) == used_precision(CPU, "auto") == expected
    assert used_precision(CPU, "bf16") == expected


@pytest.mark.parametrize(
    ("bf16", "capability", "expected"),
    [(True, (8, 0), "bf16"), (False, (7, 5), "fp16"), (False, (6, 1), "float32")],
)
def test_gpus_are_known_by_their_generation(monkeypatch, bf16, capability, expected):
    def supported(*, including_emulation):
        assert not including_emulation and current == [0, 1]
        return bf16

    @contextmanager
    def made_current(index):
        current.append(index)
        yield
        current.pop()

    current = [0]
    monkeypatch.setattr(torch.cuda, "device", made_current)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    assert used_precision(GPU, "auto") == expected
    assert used_precision(GPU, "bf16") == ("bf16" if bf16 else "float32")
    assert used_precision(GPU, "tf32") == "tf32"
    assert used_precision(torch.device("mps"), "auto") == "float32"


def test_one_warning_unless_it_is_insisted_on(monkeypatch, caplog):
    pretend_cpu(monkeypatch, claims=False, speedup=0)
    model, lr = tiny_model(), torch.rand(3, 9, 8)
    exact = model.upscale(lr, scale=2)
    for _ in range(2):
        assert torch.equal(model.upscale(lr, scale=2, precision="bf16"), exact)
        assert torch.equal(model.upscale(lr, scale=2, precision="auto"), exact)
    (line,) = caplog.messages
    assert "bf16 is slower than float32 on this processor" in line and "bf16! insists" in line
    for insisting in ("bf16!", "fp16!"):
        rough = model.upscale(lr, scale=2, precision=insisting)
        assert 0 < (rough - exact).abs().max() < 0.03
    assert len(caplog.messages) == 1


def test_auto_is_bf16_where_that_is_faster(monkeypatch):
    pretend_cpu(monkeypatch, claims=True, speedup=2)
    model, lr = tiny_model(), torch.rand(3, 9, 8)
    expected = model.upscale(lr, scale=2, precision="bf16!")
    for precision in ("auto", "bf16"):
        assert torch.equal(model.upscale(lr, scale=2, precision=precision), expected)
    assert not torch.equal(model.upscale(lr, scale=2), expected)


def test_the_measurement(monkeypatch):
    assert isinstance(claims_units("bf16"), bool) and isinstance(claims_units("fp16"), bool)
    assert 1e-4 < measured_speedup("bf16") < 50
    monkeypatch.setitem(fastest.HALF_TYPES, "bf16", torch.float64)
    assert 0 < measured_speedup("bf16") < fastest.FASTER  # twice the work of float32
