"""The choice of the device, and what it means for the process."""

import sys

import pytest
import torch

from liif.commands import device
from liif.core.errors import UserError


@pytest.fixture
def gpus(monkeypatch):
    """A stand-in for a machine with two GPUs; the devices that were made current, in order."""
    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


@pytest.mark.parametrize(
    ("name", "local_rank", "chosen"),
    [("auto", "0", "cuda:0"), ("cuda", "1", "cuda:1"), ("cuda:1", "0", "cuda:1")],
)
def test_a_gpu_is_made_the_current_device_once(gpus, monkeypatch, name, local_rank, chosen):
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    before = torch.backends.cudnn.allow_tf32  # set by --precision alone
    assert device.select_device(name) == torch.device(chosen)
    assert gpus == [torch.device(chosen)] and torch.backends.cudnn.allow_tf32 == before


def test_other_choices_leave_the_current_gpu(gpus, monkeypatch):
    assert device.select_device("cpu").type == "cpu" and gpus == []
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(
        UserError, match="--device cuda:2: no such GPU; this machine has cuda:0 to cuda:1"
    ):
        device.select_device("cuda")
    assert gpus == []


def test_memory_settings_are_left_alone_on_windows(monkeypatch):
    def refuse(name):
        raise TypeError("argument of type 'NoneType' is not iterable")  # as Windows does

    monkeypatch.setattr(device.ctypes, "CDLL", refuse)
    monkeypatch.setattr(sys, "platform", "win32")
    device.keep_freed_memory(torch.device("cpu"))


def test_memory_settings_are_for_a_cpu(monkeypatch):
    class Library:
        def __init__(self, name):
            self.calls = []
            libraries.append(self)

        def mallopt(self, *arguments):
            self.calls.append(arguments)

    libraries = []
    monkeypatch.setattr(device.ctypes, "CDLL", Library)
    monkeypatch.setattr(sys, "platform", "linux")
    device.keep_freed_memory(torch.device("cuda"))
    assert libraries == []
    device.keep_freed_memory(torch.device("cpu"))
    assert len(libraries[0].calls) == 3
