"""The generator of a GPU is saved with a run, and restored."""

import pytest
import torch
from helpers.training import config, state_of

from liif.models.checkpoint import read_checkpoint
from liif.training.train import train


@pytest.fixture
def generators(monkeypatch):
    """Stands in for the generators of GPUs, by device; every tensor says that it is on one."""
    states = {}
    monkeypatch.setattr(torch.Tensor, "is_cuda", True, raising=False)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[str(device)].clone())
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: states.update({str(device): state})
    )
    return states


def test_it_is_saved_and_restored(learnable, tmp_path, generators):
    chosen = config(learnable)
    state = state_of(chosen)
    generators["cpu"] = torch.tensor([1, 2, 3], dtype=torch.uint8)
    run = chosen.model_dump(mode="json")
    state.save(tmp_path / "a.pt", chosen.model, run)
    generators["cpu"] = torch.zeros(3, dtype=torch.uint8)
    state.restore(read_checkpoint(tmp_path / "a.pt"), tmp_path / "a.pt")
    assert generators["cpu"].tolist() == [1, 2, 3]


def test_a_checkpoint_without_one_is_restored_on_a_gpu(learnable, tmp_path, generators):
    chosen = config(learnable)
    state = state_of(chosen)
    generators["cpu"] = torch.ones(3, dtype=torch.uint8)
    state.save(tmp_path / "a.pt", chosen.model, chosen.model_dump(mode="json"))
    content = torch.load(tmp_path / "a.pt")
    del content["training"]["device_generator"]
    torch.save(content, tmp_path / "a.pt")
    state.restore(read_checkpoint(tmp_path / "a.pt"), tmp_path / "a.pt")
    assert generators["cpu"].tolist() == [1, 1, 1]


@pytest.mark.gpu
def test_on_a_gpu(learnable, tmp_path):
    chosen, device = config(learnable), torch.device("cuda", 0)
    state = state_of(chosen, device)
    torch.rand(3, device=device)  # building a model, as reading a checkpoint does, sets the seed
    state.save(tmp_path / "a.pt", chosen.model, chosen.model_dump(mode="json"))
    expected = torch.rand(5, device=device)
    state.restore(read_checkpoint(tmp_path / "a.pt"), tmp_path / "a.pt")
    assert torch.equal(torch.rand(5, device=device), expected)


def test_a_run_on_a_cpu_has_none(learnable, tmp_path):
    assert train(config(learnable, steps=1, valid=None), tmp_path)
    assert "device_generator" not in read_checkpoint(tmp_path / "last.pt").training
