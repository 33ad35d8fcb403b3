"""Gradient checkpointing: the same numbers from fewer activations."""

import copy

import pytest
import torch
from helpers.small_models import every_encoder, small
from helpers.training import assert_same_weights, config, state_of
from torch import nn

from liif.training.recompute import blocks_of, recompute_blocks
from liif.training.train import train


def kept_bytes(model, lr):
    """Bytes that the forward pass of an encoder keeps for the backward pass."""
    kept = {}

    def note(tensor):
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = model.encoder(lr)
    return out, sum(kept.values())


@every_encoder
def test_the_same_gradients_from_less_memory(encoder):
    plain = small(encoder)
    saving = copy.deepcopy(plain)
    recompute_blocks(saving.encoder)
    lr = torch.rand(1, 3, 16, 16, generator=torch.manual_seed(0))
    outputs, sizes = zip(*(kept_bytes(model, lr) for model in (plain, saving)), strict=True)
    for out in outputs:
        (out * out).sum().backward()
    assert torch.equal(*outputs) and sizes[1] < 0.7 * sizes[0]
    assert plain.state_dict().keys() == saving.state_dict().keys()
    for a, b in zip(plain.encoder.parameters(), saving.encoder.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    assert all(m.forward.__self__ is m for m in plain.encoder.modules())  # a copy of its own


def test_blocks_are_the_outermost_ones():
    edsr, rdn = small("edsr-baseline").encoder, small("rdn").encoder
    assert list(blocks_of(edsr)) == list(edsr.body)[:-1]
    assert list(blocks_of(rdn)) == list(rdn.RDBs)


def test_an_encoder_without_blocks_is_computed_again_as_a_whole():
    calls = []

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3)

        def forward(self, lr):
            calls.append(torch.is_grad_enabled())
            return self.layer(lr)

    encoder = Plain()
    recompute_blocks(encoder)
    encoder(torch.rand(1, 3, 8, 8)).sum().backward()
    assert calls == [True, True]
    with torch.no_grad():
        encoder(torch.rand(1, 3, 8, 8))
    assert calls == [True, True, False]


@pytest.mark.parametrize("precision", ["float32", "bf16!"])
def test_a_run_ends_with_the_same_weights(learnable, tmp_path, precision):
    options = {"steps": 3, "precision": precision, "ema": 0.9, "accumulate": 2}
    model = {
        "encoder": {"name": "edsr-baseline", "blocks": 2, "width": 8},
        "decoder": {"name": "liif", "hidden": [16]},
    }
    plain = config(learnable, model=model, **options)
    saving = config(learnable, model=model, gradient_checkpointing=True, **options)
    state = state_of(saving)
    assert all(hasattr(block.forward, "func") for block in blocks_of(state.model.encoder))
    assert train(plain, tmp_path / "plain")
    assert train(saving, tmp_path / "saving")
    assert_same_weights(tmp_path / "plain", tmp_path / "saving")
    assert train(plain.model_copy(update={"steps": 4}), tmp_path / "saving")  # it may change
