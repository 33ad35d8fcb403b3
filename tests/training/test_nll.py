"""Training on the likelihood of a flow."""

import pytest
import torch
from helpers.losses import BATCH
from helpers.small_models import every_encoder, small, small_config
from helpers.training import config
from pydantic import ValidationError

from liif.training.losses.nll import NllConfig
from liif.training.losses.pointwise import L1Config
from liif.training.losses.terms import LossTerms
from liif.training.step import train_step


@every_encoder
def test_the_density_is_that_of_colours_that_the_model_draws(encoder):
    """At the colours that the flow makes of noise z it is that of z, less the flow's volume there.
    The difference between two draws of one pixel is that of their noise: the flow is affine."""
    model = small(encoder, "linf").eval()
    sample = small(encoder, "linf", temperature=0.7).eval()
    with torch.no_grad():
        best, drawn = (each(*BATCH[:3]) for each in (model, sample))
        of_best, of_drawn = (model(*BATCH[:3], target=each) for each in (best, drawn))
        assert torch.equal(of_best[..., :-1], best)
        noise = sample.decoder.noise(*at_frame(sample, BATCH))
    expected = 0.5 * (noise**2).sum(dim=-1)
    torch.testing.assert_close(of_best[..., -1] - of_drawn[..., -1], expected, atol=1e-3, rtol=1e-3)


def at_frame(model, batch):
    """Points and cells as the decoder gets them: of the padded image."""
    field = model.encode(batch.lr)
    coord = [field.coord_to_grid(batch.coord[..., i], i) for i in (0, 1)]
    return torch.stack(coord, dim=-1), field.cell_to_grid(batch.cell)[:, None]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_step_makes_the_colours_likelier(precision):
    """Alone, as in the first stage of the published training, and in micro-batches."""
    model = small(decoder="linf").train()
    losses = LossTerms([NllConfig()], std=model.std)
    optimizer = torch.optim.Adam(model.parameters())
    found = [
        train_step(
            model, optimizer, BATCH, learning_rate=1e-3, losses=losses, accumulate=2,
            precision=precision,
        ).loss
        for _ in range(20)
    ]  # fmt: skip
    assert found[-1] < found[0] - 0.1
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_both_stages_can_be_weighted():
    model = small(decoder="linf").train()
    density = model(*BATCH[:3], target=BATCH.target)[..., -1].mean().item()
    losses = LossTerms([NllConfig(weight=5e-4), L1Config()], std=model.std)
    optimizer = torch.optim.Adam(model.parameters())
    found = train_step(model, optimizer, BATCH, learning_rate=1e-3, losses=losses)
    assert found.terms["nll"] == pytest.approx(-density, rel=1e-5)
    assert found.loss == pytest.approx(found.terms["l1"] - 5e-4 * density, rel=1e-5)


def test_a_decoder_without_likelihood_is_refused(learnable):
    flow = small_config(decoder="linf").model_dump()
    assert config(learnable, loss="nll", model=flow)
    with pytest.raises(ValidationError, match=r"loss: nll needs the likelihood .* decoder liif"):
        config(learnable, loss="nll")
