"""What a GPU does, and the pretend one does, too: the other tests of this folder rely on it."""

import gc

import pytest
import torch
from helpers.gpu import count_waits, limit_memory

pytestmark = pytest.mark.gpu


def test_devices_must_agree(device):
    matrix = torch.ones(3, 3, device=device)
    with pytest.raises(RuntimeError, match="same device"):
        matrix @ torch.ones(3, 3)
    with pytest.raises(RuntimeError, match="same device"):
        matrix + torch.ones(3, 3)
    with pytest.raises(RuntimeError, match="device"):
        torch.ones(3)[torch.zeros(1, dtype=torch.long, device=device)]
    with pytest.raises(TypeError, match="numpy"):
        matrix.numpy()
    assert (matrix * torch.tensor(2.0)).device == device
    assert matrix[torch.tensor([0, 2])].device == device


def test_two_devices_must_agree():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(3, device="cuda:0") + torch.ones(3, device="cuda:1")
    with torch.cuda.device(1):
        assert torch.ones(3, device="cuda").device == torch.device("cuda", 1)


def test_autocast_has_the_rules_of_a_gpu(device):
    matrix = torch.ones(3, 3, device=device)
    with torch.autocast("cuda", torch.bfloat16):
        assert (matrix @ matrix).dtype == torch.bfloat16
        assert (matrix @ matrix).sum().dtype == torch.float32  # which a CPU leaves in bfloat16


def test_waits_are_counted(device):
    there, here = torch.ones(9, device=device), torch.ones(9)
    pinned = torch.ones(9).pin_memory()
    assert pinned.is_pinned() and pinned[3:].is_pinned() and not here.is_pinned()
    waiting = [
        lambda: there.sum().item(),
        lambda: there.cpu(),
        lambda: there.tolist(),
        lambda: bool(there.any()),
        lambda: there[there > 0],
        lambda: there.nonzero(),
        lambda: here.to(device),
        lambda: pinned.to(device),
        lambda: torch.tensor([1.0], device=device),
        lambda: there.new_tensor([1.0, 2.0]),
        lambda: there.copy_(here),
    ]
    for act in waiting:
        with count_waits() as waits:
            act()
        assert waits, f"number {waiting.index(act)}"
    with count_waits() as waits:
        pinned.to(device, non_blocking=True)
        there.to("cpu", non_blocking=True)
        torch.arange(5, device=device) * 2 + 1
        there.new_full((3,), 0.5).fill_(2)
        torch.zeros(4, device=device).float().double().unsqueeze(0).expand(3, 4).contiguous()
    assert not waits
    with count_waits() as waits:
        (there * 2).sum().item()
        there.tolist()
    assert len(waits) == 2


def test_memory_is_counted(device):
    gc.collect()
    before = torch.cuda.memory_allocated(device)
    tensor = torch.ones(2**20, device=device)
    view = tensor[5:]
    del tensor
    assert torch.cuda.memory_allocated(device) == before + 2**22
    del view
    assert torch.cuda.memory_allocated(device) == before
    assert torch.cuda.max_memory_allocated(device) >= before + 2**22


def test_memory_runs_out(device):
    with limit_memory(64 * 2**20):
        kept = torch.ones(8 * 2**20, device=device)
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
            torch.ones(16 * 2**20, device=device)
    torch.ones(16 * 2**20, device=device)
    assert kept.sum() == 8 * 2**20
