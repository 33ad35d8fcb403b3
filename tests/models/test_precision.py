"""Precision: what each choice sets, in both of PyTorch's interfaces, and that it is restored."""

import pytest
import torch

from liif.models import precision
from liif.models.precision import (
    HALF_TYPES,
    autocast,
    matmul_uses_tf32,
    precision_context,
    tf32_context,
)

GPU = torch.device("cuda")  # its settings can be read and written without one
HAS_NEW_INTERFACE = hasattr(torch.backends.cuda.matmul, "fp32_precision")
new_interface = pytest.mark.skipif(not HAS_NEW_INTERFACE, reason="needs PyTorch 2.9")


def read(setting):
    try:
        return setting()
    except RuntimeError:
        return "refused"


def settings():
    """Everything about TF32 that a program can read."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    values = [
        read(torch.get_float32_matmul_precision),
        read(lambda: cuda.matmul.allow_tf32),
        read(lambda: cudnn.allow_tf32),
    ]
    if HAS_NEW_INTERFACE:
        values += [op.fp32_precision for op in (torch.backends, cuda.matmul, cudnn)]
        values += [op.fp32_precision for op in (cudnn.conv, cudnn.rnn)]
        values += [torch.backends.mkldnn.matmul.fp32_precision]
    return values


@pytest.fixture(autouse=True)
def defaults():
    yield
    if HAS_NEW_INTERFACE:
        for owner in (torch.backends, torch.backends.mkldnn.matmul, torch.backends.cudnn):
            owner.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = True
    if HAS_NEW_INTERFACE:
        torch.backends.cuda.matmul.fp32_precision = "none"


def as_pytorch_starts():
    pass


def by_flags():
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = False


def medium():
    torch.set_float32_matmul_precision("medium")


def by_operation():
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.cudnn.conv.fp32_precision = "ieee"


def for_everything():
    torch.backends.fp32_precision = "tf32"


def mixed():
    torch.set_float32_matmul_precision("high")
    torch.backends.cuda.matmul.fp32_precision = "ieee"


STATES = [as_pytorch_starts, by_flags, medium]
STATES += [pytest.param(s, marks=new_interface) for s in (by_operation, for_everything, mixed)]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("choice", ["float32", "tf32"])
def test_each_choice_is_set_and_the_previous_settings_return(state, choice):
    state()
    before = settings()
    allowed = choice == "tf32"
    with precision_context(GPU, choice):
        assert matmul_uses_tf32() == allowed
        # Reading either interface raises no error, as torch.compile does.
        assert torch.backends.cuda.matmul.allow_tf32 == allowed
        assert torch.backends.cudnn.allow_tf32 == allowed
        if HAS_NEW_INTERFACE:
            wanted = "tf32" if allowed else "ieee"
            assert torch.backends.cudnn.conv.fp32_precision == wanted
        inside = settings()
        with tf32_context(GPU, "tf32"):
            assert matmul_uses_tf32()
        assert settings() == inside
    assert settings() == before


@new_interface
def test_an_inherited_setting_stays_inherited():
    for_everything()
    with precision_context(GPU, "float32"):
        assert not matmul_uses_tf32()
    torch.backends.fp32_precision = "ieee"
    assert not matmul_uses_tf32()


@pytest.mark.parametrize("state", [as_pytorch_starts, by_flags, medium])
def test_the_flags_alone_suffice_for_older_versions(state, monkeypatch):
    state()
    before = settings()[:3]
    monkeypatch.setattr(precision, "_operations", list)
    with precision_context(GPU, "float32"):
        assert settings()[1:3] == [False, False]
    with precision_context(GPU, "tf32"):
        assert settings()[1:3] == [True, True]
    assert settings()[:3] == before


def test_an_error_restores_the_settings():
    before = settings()
    with pytest.raises(ZeroDivisionError), precision_context(GPU, "tf32"):
        _ = 1 / 0
    assert settings() == before


@pytest.mark.parametrize("choice", ["float32", "tf32", "bf16", "fp16"])
def test_a_cpu_needs_autocast_only(choice):
    before = settings()
    with precision_context(torch.device("cpu"), choice):
        assert settings() == before
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == HALF_TYPES.get(choice, torch.float32)
    with autocast(torch.device("cpu"), choice):
        assert torch.is_autocast_enabled("cpu") == (choice in HALF_TYPES)


@new_interface
@pytest.mark.parametrize("state", [by_operation, for_everything, mixed])
def test_the_setting_is_read_where_the_interfaces_disagree(state):
    state()
    assert matmul_uses_tf32() == (state is not mixed)
