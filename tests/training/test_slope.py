"""The loss of a field's slope, beside derivatives by PyTorch."""

import pytest
import torch
from helpers.losses import BATCH, STD
from helpers.small_models import every_encoder, small, small_config
from helpers.training import config
from pydantic import ValidationError

from liif.training.losses.pointwise import L1Config
from liif.training.losses.slope import SlopeConfig
from liif.training.losses.terms import LossTerms
from liif.training.step import train_step


@every_encoder
def test_slopes_are_the_derivatives_of_the_field(encoder):
    """Per low-resolution pixel of the image, in normalised units, at pixels without extent."""
    model = small(encoder, "thera").eval()
    coord = BATCH.coord.clone().requires_grad_()
    sharp = model(BATCH.lr, coord, torch.zeros(3, 2))
    out = model(BATCH.lr, coord, BATCH.cell, slopes=True)
    assert torch.equal(out[..., 0], model(BATCH.lr, coord, BATCH.cell))
    for channel in range(3):
        (along,) = torch.autograd.grad(sharp[..., channel].sum(), coord, retain_graph=True)
        expected = along / STD * torch.tensor([2 / 9, 2 / 7])
        torch.testing.assert_close(out[:, :, channel, 1:], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_step_makes_the_field_smoother(precision):
    """In micro-batches, too."""
    model = small(decoder="thera").train()
    losses = LossTerms([L1Config(), SlopeConfig(weight=0.1)], std=model.std)
    optimizer = torch.optim.Adam(model.parameters())
    found = [
        train_step(
            model, optimizer, BATCH, learning_rate=1e-3, losses=losses, accumulate=2,
            precision=precision,
        )
        for _ in range(20)
    ]  # fmt: skip
    first, last = (each.terms for each in (found[0], found[-1]))
    assert first.keys() == {"l1", "slope"} and last["slope"] < first["slope"]
    assert found[0].loss == pytest.approx(first["l1"] + 0.1 * first["slope"], rel=1e-6)
    if precision == "float32":
        slopes = small(decoder="thera")(*BATCH[:3], slopes=True)[..., 1:]
        assert first["slope"] == pytest.approx(slopes.abs().mean().item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_decoder_without_slopes_is_refused(learnable):
    terms = [{"name": "l1"}, {"name": "slope", "weight": 1e-4}]
    field = small_config(decoder="thera").model_dump()
    assert config(learnable, loss=terms, model=field)
    with pytest.raises(ValidationError, match=r"loss: slope needs the slopes .* the decoder liif"):
        config(learnable, loss=terms)
